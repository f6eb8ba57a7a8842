"""``seqnet_ros loops``: find the loops that a recording closes with itself."""

import csv
import io
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.settings import apply_settings, collect_settings
from seqnet_ros.config import LoopConfig
from seqnet_ros.errors import InputError
from seqnet_ros.files import explain_write_errors, refuse_file, whole_file
from seqnet_ros.pipelines.match_files import MatchFiles
from seqnet_ros.pipelines.summary import Summary

if TYPE_CHECKING:
    from seqnet_ros.datasets.frames import FrameSource
    from seqnet_ros.matching.loop_closer import LoopCloser
    from seqnet_ros.matching.result import LoopResult

_logger = logging.getLogger(__name__)

LOOPS = 'loops.csv'
COLUMNS = ('from_place', 'to_place', 'from_stamp_ns', 'to_stamp_ns', 'score', 'inliers', 'metric',
           'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
_DIGITS = 6


def _option(field: str) -> Any:
    info = LoopConfig.model_fields[field]
    return typer.Option(help=info.description, show_default=str(info.default))


def loops(
    source: options.Source,
    output: Annotated[Path, typer.Option(
        help='Folder for loops.csv, matches.csv, matches.jsonl and summary.json.',
        show_default=False)],
    model: options.Model = 'hog',
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    every: options.Every = None,
    sequence_length: options.SequenceLength = None,
    exclude_s: Annotated[float | None, _option('exclude_s')] = None,
    exclude_frames: Annotated[int | None, _option('exclude_frames')] = None,
    exclude_m: Annotated[float | None, _option('exclude_m')] = None,
    max_drift: Annotated[float | None, _option('max_drift')] = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    camera_info: options.CameraInfo = None,
    assignments: options.Assignments = None,
) -> None:
    """Find the loops that a recording closes with itself, as the live loop closer would."""
    changes = collect_settings(
        assignments, {'keyframes.every': every, 'sequence.length': sequence_length})
    recent = _loop_config(exclude_s=exclude_s, exclude_frames=exclude_frames, exclude_m=exclude_m,
                          max_drift=max_drift)
    refuse_file(output)
    from seqnet_ros.camera import read_camera_info
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.matching.loop_closer import LoopCloser
    from seqnet_ros.place_model import build_model, load_model_config

    config, model_folder = load_model_config(model, weights)
    built = build_model(apply_settings(config, changes), device, model_folder)
    camera = None if camera_info is None else read_camera_info(camera_info)
    recording = open_source(source, topic, poses, pose_topic, rate)
    summary = _close(recording, LoopCloser(built, loops=recent, camera=camera), output)
    print_fields({'results': output, **summary.lines()})


def _loop_config(**values: float | None) -> LoopConfig:
    from pydantic import ValidationError

    from seqnet_ros.config import describe_validation_error

    try:
        return LoopConfig.model_validate(
            {name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise InputError(describe_validation_error(error)) from error


def _close(source: 'FrameSource', closer: 'LoopCloser', output: Path) -> Summary:
    from seqnet_ros.datasets.sources import PosedSource

    posed = isinstance(source, PosedSource)
    summary, closed, left_out = Summary(), [], 0
    started = time.perf_counter()
    with MatchFiles(output) as files, progress_bar('closing loops', len(source)) as show:
        for done, frame in enumerate(source, 1):
            show(done)
            # A camera often starts before the odometry does: such images have no place.
            if posed and frame.pose is None:
                left_out += 1
                continue
            result = closer.push_lazily(frame.read, frame.stamp_ns, frame.pose)
            summary.add(result)
            if result is None:
                continue
            files.write(frame.index, result)
            if result.accepted:
                closed.append(_row(result))
        summary.seconds = time.perf_counter() - started
        _write_loops(output, closed)
        files.finish({
            'source': source.name, 'poses': source.pose_origin, 'places': len(closer),
            'loops': len(closed), 'images_without_pose': left_out,
            'model': closer.model.config.name, 'fingerprint': closer.model.fingerprint,
            'device': str(closer.model.device.device), **summary.numbers()})
    if left_out:
        _logger.warning('%d of %d images were left out: there is no pose at their time',
                        left_out, len(source))
    return summary


def _row(result: 'LoopResult') -> list[object]:
    best = result.best
    assert best is not None
    pose = [''] * 7 if best.relative_pose is None else [
        f'{value:.{_DIGITS}f}' for value in best.relative_pose]
    return [best.place_id, result.place_id, best.stamp_ns, result.stamp_ns,
            f'{best.score:.{_DIGITS}f}', best.inliers, str(best.relative_is_metric).lower(), *pose]


def _write_loops(output: Path, rows: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerows([COLUMNS, *rows])
    with explain_write_errors(output), whole_file(output / LOOPS) as file:
        file.write(text.getvalue().encode())
