"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.settings import setting_option
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.core.camera import CameraModel

Source = Annotated[Path, typer.Argument(
    help='Image folder, video or rosbag (mcap, sqlite3 or ROS 1).', show_default=False)]
MapPath = Annotated[Path, typer.Argument(help='Folder of the map.', show_default=False)]
Topic = Annotated[str | None, typer.Option(
    help='Image topic of a bag.', show_default='the only one')]
Poses = Annotated[Path | None, typer.Option(
    help='Pose file: TUM, KITTI or CSV.', show_default="the bag's poses")]
PoseTopic = Annotated[str | None, typer.Option(
    help='Pose topic of a bag: odometry, poses, GPS or transforms.',
    show_default='odometry, else poses, GPS, /tf')]
Rate = Annotated[float | None, typer.Option(
    help='Images per second of a folder or video.', show_default="10, or the video's")]
Model = Annotated[str, typer.Option(
    help='Model: a name from `seqnet_ros models list`, or a YAML file.')]
Weights = Annotated[Path | None, typer.Option(
    help='Local file of weights.', show_default="the model's")]
Device = Annotated[str, typer.Option(
    help="Device for networks: 'auto', 'cuda', 'cpu', or 'openvino' on the CPU.")]
Assignments = Annotated[list[str] | None, typer.Option(
    '--set', metavar='SETTING=VALUE', show_default=False,
    help='Set another setting, such as matching.top_k=50; see docs/cli.md. Repeatable.')]
CameraInfo = Annotated[Path | None, typer.Option(
    help='Calibration file of the camera (camera_calibration YAML), for the geometric check.',
    show_default='none')]

SequenceLength = Annotated[int | None, setting_option(
    'sequence.length', '--sequence-length', '-L')]
Every = Annotated[str | None, setting_option('keyframes.every', '--every')]
TopK = Annotated[int | None, setting_option('matching.top_k', '--top-k')]
Reverse = Annotated[bool | None, setting_option('matching.reverse', '--reverse/--no-reverse')]
FalsePositiveRate = Annotated[float | None, setting_option(
    'acceptance.false_positive_rate', '--false-positive-rate')]


def read_camera(path: Path | None) -> 'CameraModel | None':
    """Return the calibrated camera of ``--camera-info``, if the option was given.

    Raises:
        InputError: the file cannot be used.
    """
    from seqnet_ros.core.camera import read_camera_info

    return None if path is None else read_camera_info(path)


def given(ctx: typer.Context) -> list[str]:
    """Return the options of a command that were given on the command line."""
    return [parameter.opts[0] for parameter in ctx.command.params if parameter.name
            and getattr(ctx.get_parameter_source(parameter.name), 'name', '') == 'COMMANDLINE']


def numbers(option: str, text: str, example: str) -> tuple[float, ...]:
    """Return the numbers that an option lists, separated by commas.

    Raises:
        InputError: the text is something else.
    """
    try:
        return tuple(float(part) for part in text.split(','))
    except ValueError:
        raise InputError(f'{option} is {text!r}, expected numbers such as {example}') from None
