"""``seqnet_ros map``: make a map of a recording, look at it, check it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar, working
from seqnet_ros.cli.settings import apply_settings, collect_settings
from seqnet_ros.errors import InputError, MapWriteError

if TYPE_CHECKING:
    from seqnet_ros.datasets.frames import FrameSource
    from seqnet_ros.maps.place_map import MapManifest, PlaceMap
    from seqnet_ros.matching.mapper import Mapper

_logger = logging.getLogger(__name__)

_DEFAULT_MODEL = 'hog'

app = typer.Typer(no_args_is_help=True, help='Make and check maps.')


@app.command()
def build(
    source: options.Source,
    output: Annotated[Path, typer.Option(
        help='Folder of the map; a map that lies there is replaced.', show_default=False)],
    model: Annotated[str | None, typer.Option(
        help='Name of a model, or its YAML file.', show_default='hog, or that of --extend')] = None,
    extend: Annotated[Path | None, typer.Option(
        help='Map that the drive is added to; it stays as it is unless it is --output, too.',
        show_default=False)] = None,
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    every: options.Every = None,
    sequence_length: options.SequenceLength = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    geometry: Annotated[bool, typer.Option(
        '--geometry', help='Keep local features, for the geometric check of matches.')] = False,
    camera_info: options.CameraInfo = None,
    keep_images: Annotated[bool, typer.Option(
        '--keep-images', help='Keep a small picture of every place, to look at.')] = False,
    assignments: options.Assignments = None,
) -> None:
    """Make a map of the places of a recorded drive, or add the drive to a map.

    Poses come from a file, or from the odometry, pose or GPS topics of a bag. Without any, the
    places lie one metre apart on a line. Settings become the defaults for localizing.
    """
    settings = collect_settings(
        assignments, {'keyframes.every': every, 'sequence.length': sequence_length})
    _refuse_other_than_map(output)
    from seqnet_ros.camera import read_camera_info
    from seqnet_ros.config import GeometryConfig
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.maps.storage import open_map, read_manifest, save_map
    from seqnet_ros.matching.mapper import Mapper
    from seqnet_ros.place_model import build_model, load_model_config

    if model is None and extend is not None:
        config, model_folder = read_manifest(extend)[0].model, None
    else:
        config, model_folder = load_model_config(model or _DEFAULT_MODEL, weights)
    if geometry and config.geometry is None:
        config = config.model_copy(update={'geometry': GeometryConfig()})
    built = build_model(apply_settings(config, settings), device, model_folder, weights)
    camera = None if camera_info is None else read_camera_info(camera_info)
    extended = None
    if extend is not None:
        extended = open_map(extend, built)
        camera = camera or extended.manifest.camera_model
        keep_images = keep_images or extended.manifest.images
    mapper = Mapper(built, extends=extended, keep_images=keep_images, camera=camera)
    place_map = _map(open_source(source, topic, poses, pose_topic, rate), mapper)
    save_map(place_map, output)
    print_fields({'map': output, **_describe(place_map.manifest)})


def _refuse_other_than_map(path: Path) -> None:
    """Say at once what saving would say after the work."""
    from seqnet_ros.maps.storage import MANIFEST

    if path.exists() and not (path / MANIFEST).is_file():
        raise MapWriteError(f'{path} exists and is not a map, expected a new path or a map')


def _map(source: 'FrameSource', mapper: 'Mapper') -> 'PlaceMap':
    from seqnet_ros.datasets.sources import PosedSource

    posed = isinstance(source, PosedSource)
    if posed:
        _logger.info('poses: %s', source.pose_origin)
    else:
        _logger.info('%s has no poses: frame number = metres', source.name)
    left_out = 0
    with progress_bar('mapping', len(source)) as show:
        for done, frame in enumerate(source, 1):
            # A camera often starts before the odometry does: such images have no place.
            if posed and frame.pose is None:
                left_out += 1
            else:
                mapper.push_lazily(frame.read, frame.stamp_ns, frame.pose)
            show(done)
    if left_out:
        _logger.warning('%d of %d images were left out: there is no pose at their time',
                        left_out, len(source))
    if posed and not len(mapper):
        raise InputError(f'no image of {source.name} has a pose from {source.pose_origin}, '
                         'expected poses at the times of the images')
    with working('calibrating'):
        return mapper.finish(source.name, source.pose_origin)


@app.command()
def info(path: options.MapPath) -> None:
    """Show what a map says of itself; nothing but its manifest is read."""
    from seqnet_ros.maps.storage import read_manifest

    manifest, files = read_manifest(path)
    size = sum(entry['bytes'] for entry in files.values())
    print_fields({'map': path, **_describe(manifest), 'size': f'{size / 1e6:.1f} MB'})


@app.command()
def verify(
    path: options.MapPath,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Check a map's checksums, shapes and values, and that its model makes the same descriptors."""
    from seqnet_ros.maps.storage import check_model, verify_map
    from seqnet_ros.place_model import build_model

    with working('reading'):
        manifest = verify_map(path)
    check_model(manifest, build_model(manifest.model, device, weights=weights), path)
    print_fields({'map': path, 'verdict': 'sound', 'places': manifest.places,
                  'descriptors': _dimensions(manifest),
                  'fingerprint': manifest.fingerprint[:8]})


def _describe(manifest: 'MapManifest') -> dict[str, object]:
    return {
        'id': manifest.map_id,
        'model': f'{manifest.model.name} ({manifest.fingerprint[:8]})',
        'places': manifest.places,
        'spacing': manifest.spacing,
        'route': f'{manifest.route_length_m:.1f} m',
        'poses': manifest.pose_origin,
        'source': manifest.source,
        'sequence length': manifest.sequence_length,
        'descriptors': _dimensions(manifest),
        **_describe_images(manifest),
    }


def _describe_images(manifest: 'MapManifest') -> dict[str, object]:
    """Say what the map keeps of its images; nothing of what it does not."""
    fields: dict[str, object] = {}
    if manifest.features is not None:
        record = manifest.features
        fields['local features'] = (f'{record.features}, up to {record.max_features} an image of '
                                    f'up to {record.max_width} pixels width')
    if manifest.images:
        fields['pictures'] = 'one a place'
    camera = manifest.camera_model
    if camera is not None:
        fields['camera'] = f'{camera.width}x{camera.height}, {camera.distortion_model}'
    return fields


def _dimensions(manifest: 'MapManifest') -> str:
    dimensions = f'{manifest.dim} per frame, {manifest.sequence_dim} per sequence'
    if not manifest.model.projects_frames:
        return dimensions
    return f'{dimensions}, {manifest.matching_dim} per frame for matching (projection)'
