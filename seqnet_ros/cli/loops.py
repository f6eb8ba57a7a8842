"""``seqnet_ros loops``: find the loops that a recording closes with itself."""

from pathlib import Path
from typing import Annotated, Any

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.settings import collect_settings
from seqnet_ros.config.engine import LoopConfig
from seqnet_ros.core.errors import InputError


def _option(field: str) -> Any:
    info = LoopConfig.model_fields[field]
    return typer.Option(help=info.description, show_default=str(info.default))


def loops(
    source: options.Source,
    output: Annotated[Path, typer.Option(
        help='Folder for loops.csv, matches.csv, matches.jsonl and summary.json.',
        show_default=False)],
    model: options.Model = '',
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
    """Find the loops that a recording closes with itself, as the live loop closer would.

    Every image is searched for among the earlier ones, except the most recent. Poses are used as
    odometry, which may drift. The same input gives the same files. For relative poses, turn on the
    geometric check with `--set geometry.features=sift`.
    """
    changes = collect_settings(
        assignments, {'keyframes.every': every, 'sequence.length': sequence_length})
    recent = _loop_config(exclude_s=exclude_s, exclude_frames=exclude_frames, exclude_m=exclude_m,
                          max_drift=max_drift)
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.localization.loop_closer import LoopCloser
    from seqnet_ros.models.place_model import build_model, load_preset
    from seqnet_ros.pipelines.close_loops import COLUMNS, LOOPS, close_loops
    from seqnet_ros.pipelines.match_files import check_folder

    check_folder(output, {LOOPS: ','.join(COLUMNS)})
    preset, model_folder = load_preset(model, weights)
    built = build_model(preset.with_settings(changes), device, model_folder)
    camera = options.read_camera(camera_info)
    recording = open_source(source, topic, poses, pose_topic, rate)
    closer = LoopCloser(built, loops=recent, camera=camera)
    summary = close_loops(recording, closer, output, progress_bar)
    print_fields({'results': output, **summary.lines()})


def _loop_config(**values: float | None) -> LoopConfig:
    from pydantic import ValidationError

    from seqnet_ros.config.settings import describe_validation_error

    try:
        return LoopConfig.model_validate(
            {name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise InputError(describe_validation_error(error)) from error
