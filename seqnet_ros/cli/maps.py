"""``seqnet_ros map``: make a map of a recording, look at it, check it."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar, working
from seqnet_ros.cli.settings import collect_settings
from seqnet_ros.errors import InputError

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
        help='Folder of the map; the folder that holds it must exist.', show_default=False)],
    model: Annotated[str | None, typer.Option(
        help='Name of a model, or its YAML file.', show_default='hog, or that of --extend')] = None,
    extend: Annotated[Path | None, typer.Option(
        help='Map that the drive is added to; it stays as it is unless it is --output, too.',
        show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace the map that lies at --output.')] = False,
    backup: Annotated[bool, typer.Option(
        help='Keep a map that is replaced or extended as NAME~1.')] = True,
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
    from seqnet_ros.maps.map_writer import check_target, save_map

    in_place = extend is not None and output.resolve() == extend.resolve()
    check_target(output, overwrite=overwrite or in_place)
    from seqnet_ros.camera import read_camera_info
    from seqnet_ros.config.engine import GeometryConfig
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.maps.map_reader import open_map, read_manifest
    from seqnet_ros.matching.map_extension import save_extension
    from seqnet_ros.matching.mapper import Mapper
    from seqnet_ros.place_model import build_model, load_preset

    if model is None and extend is not None:
        preset, model_folder = read_manifest(extend)[0].preset, None
    else:
        preset, model_folder = load_preset(model or _DEFAULT_MODEL, weights)
    if geometry and preset.engine.geometry is None:
        preset = replace(
            preset, engine=preset.engine.model_copy(update={'geometry': GeometryConfig()}))
    built = build_model(preset.with_settings(settings), device, model_folder, weights)
    camera = None if camera_info is None else read_camera_info(camera_info)
    extended = None
    if extend is not None:
        extended = open_map(extend, built, verify=True)
        camera = camera or extended.manifest.camera_model
        keep_images = keep_images or extended.manifest.images
    mapper = Mapper(built, extends=extended, keep_images=keep_images, camera=camera)
    recording = open_source(source, topic, poses, pose_topic, rate)
    _map(recording, mapper)

    def finish() -> 'PlaceMap':
        with working('calibrating'):
            return mapper.finish(recording.name, recording.pose_origin)

    if in_place:
        place_map, kept = save_extension(mapper, finish, output, backup=backup)
    else:
        place_map = finish()
        kept = save_map(place_map, output, overwrite=overwrite, backup=backup)
    print_fields({'map': output, **({} if kept is None else {'previous map': kept}),
                  **_describe(place_map.manifest)})


def _map(source: 'FrameSource', mapper: 'Mapper') -> None:
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


@app.command()
def info(path: options.MapPath) -> None:
    """Show what a map says of itself; nothing but its manifest is read."""
    from seqnet_ros.maps.map_reader import read_manifest

    manifest, files = read_manifest(path)
    size = sum(entry.bytes for entry in files.values())
    print_fields({'map': path, **_describe(manifest), 'size': f'{size / 1e6:.1f} MB'})


@app.command()
def verify(
    path: options.MapPath,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Check a map's checksums, shapes and values, and that its model makes the same descriptors."""
    from seqnet_ros.maps.map_reader import check_model, verify_map
    from seqnet_ros.place_model import build_model

    with working('reading'):
        manifest = verify_map(path)
    check_model(manifest, build_model(manifest.preset, device, weights=weights), path)
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
