"""``seqnet_ros map build``: make a map of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.info import manifest_fields
from seqnet_ros.cli.settings import apply_settings, collect_settings
from seqnet_ros.errors import MapWriteError

_DEFAULT_MODEL = 'hog'


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
    from seqnet_ros.config import GeometryConfig
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.maps.storage import open_map, read_manifest, save_map
    from seqnet_ros.matching.mapper import Mapper
    from seqnet_ros.pipelines.map_recording import map_recording
    from seqnet_ros.place_model import build_model, load_model_config

    if model is None and extend is not None:
        config, model_folder = read_manifest(extend)[0].model, None
    else:
        config, model_folder = load_model_config(model or _DEFAULT_MODEL, weights)
    if geometry and config.geometry is None:
        config = config.model_copy(update={'geometry': GeometryConfig()})
    built = build_model(apply_settings(config, settings), device, model_folder, weights)
    camera = options.read_camera(camera_info)
    extended = None
    if extend is not None:
        extended = open_map(extend, built)
        camera = camera or extended.manifest.camera_model
        keep_images = keep_images or extended.manifest.images
    mapper = Mapper(built, extends=extended, keep_images=keep_images, camera=camera)
    mapped = map_recording(
        open_source(source, topic, poses, pose_topic, rate), mapper, progress_bar)
    save_map(mapped.place_map, output)
    print_fields({'map': output, **manifest_fields(mapped.place_map.manifest)})


def _refuse_other_than_map(path: Path) -> None:
    """Say at once what saving would say after the work."""
    from seqnet_ros.maps.storage import MANIFEST

    if path.exists() and not (path / MANIFEST).is_file():
        raise MapWriteError(f'{path} exists and is not a map, expected a new path or a map')
