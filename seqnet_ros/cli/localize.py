"""``seqnet_ros localize``: find the images of a recording in a map."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.settings import apply_settings, collect_settings
from seqnet_ros.files import refuse_file
from seqnet_ros.pipelines.match_files import MatchFiles
from seqnet_ros.pipelines.summary import Summary

if TYPE_CHECKING:
    from seqnet_ros.datasets.frames import FrameSource
    from seqnet_ros.matching.localizer import Localizer

_logger = logging.getLogger(__name__)


def localize(
    source: options.Source,
    map_path: Annotated[Path, typer.Option(
        '--map', help='Folder of the map.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for matches.csv, matches.jsonl and summary.json.', show_default=False)],
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    sequence_length: options.SequenceLength = None,
    every: options.Every = None,
    top_k: options.TopK = None,
    reverse: options.Reverse = None,
    false_positive_rate: options.FalsePositiveRate = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    camera_info: options.CameraInfo = None,
    assignments: options.Assignments = None,
) -> None:
    """Find the images of a recording in a map, as the live node would; same input, same output.

    The model and its settings are those of the map. Only distances between the recording's poses
    are used, to space the images.
    """
    changes = collect_settings(assignments, {
        'sequence.length': sequence_length, 'keyframes.every': every, 'matching.top_k': top_k,
        'matching.reverse': reverse, 'acceptance.false_positive_rate': false_positive_rate})
    refuse_file(output)
    from seqnet_ros.camera import read_camera_info
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.maps.storage import open_map, read_manifest
    from seqnet_ros.matching.localizer import Localizer
    from seqnet_ros.place_model import build_model

    manifest, _ = read_manifest(map_path)
    settings = apply_settings(manifest.model, changes)
    camera = None if camera_info is None else read_camera_info(camera_info)
    recording = open_source(source, topic, poses, pose_topic, rate)
    model = build_model(manifest.model, device, weights=weights)
    localizer = Localizer(model, open_map(map_path, model), settings, camera)
    summary = _localize(recording, localizer, output)
    print_fields({'results': output, **summary.lines()})


def _localize(source: 'FrameSource', localizer: 'Localizer', output: Path) -> Summary:
    summary = Summary()
    started = time.perf_counter()
    with MatchFiles(output) as files, progress_bar('localizing', len(source)) as show:
        for done, frame in enumerate(source, 1):
            result = localizer.push_lazily(frame.read, frame.stamp_ns, frame.pose)
            summary.add(result)
            if result is not None:
                files.write(frame.index, result)
            show(done)
        summary.seconds = time.perf_counter() - started
        files.finish({
            'source': source.name, 'poses': source.pose_origin,
            'map_id': localizer.map.manifest.map_id, 'model': localizer.model.config.name,
            'fingerprint': localizer.model.fingerprint,
            'device': str(localizer.model.device.device), **summary.numbers()})
    if not summary.searched:
        _logger.warning('nothing was searched: %s never filled a sequence of %d keyframes',
                        source.name, localizer.sequence_length)
    return summary
