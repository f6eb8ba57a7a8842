"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.settings import setting_option
from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.models.default_model import DEFAULT_TEXT

if TYPE_CHECKING:
    from seqnet_ros.core.camera import CameraModel

# A recording and its poses.
Source = Annotated[Path, typer.Argument(
    help='Image folder, video or rosbag (mcap, sqlite3 or ROS 1).', show_default=False)]
Topic = Annotated[str | None, typer.Option(
    help='Image topic of a bag.', show_default='the only one')]
Poses = Annotated[Path | None, typer.Option(
    help='Pose file: TUM, KITTI or CSV.', show_default="the bag's poses")]
PoseTopic = Annotated[str | None, typer.Option(
    help='Pose topic of a bag: odometry, poses, GPS or transforms; of transforms also TOPIC:ROBOT '
         'or TOPIC:PARENT:ROBOT, such as /tf:map:base_link.',
    show_default='odometry, else poses, GPS, /tf')]
Rate = Annotated[float | None, typer.Option(
    help='Images per second of a folder or video.',
    show_default='the times of the images, else 10')]
CameraInfo = Annotated[Path | None, typer.Option(
    help='Calibration file of the camera (camera_calibration YAML), for the geometric check.',
    show_default='none')]

# A map, a model, and where it runs.
MapPath = Annotated[Path, typer.Argument(help='Folder of the map.', show_default=False)]
Model = Annotated[str, typer.Option(
    help='Model: a name from `seqnet_ros models list`, or a YAML file.',
    show_default=DEFAULT_TEXT)]
Weights = Annotated[Path | None, typer.Option(
    help='Local file of the weights of frames, or folder with all weights.',
    show_default="the model's")]
Device = Annotated[str, typer.Option(
    help="Where networks run: 'auto', 'cuda', 'cpu', or 'openvino' on the CPU.")]

# Settings of the engine.
Assignments = Annotated[list[str] | None, typer.Option(
    '--set', metavar='SETTING=VALUE', show_default=False,
    help='Another setting, such as matching.top_k=50; docs/cli.md lists them. Repeatable.')]
SequenceLength = Annotated[int | None, setting_option(
    'sequence.length', '--sequence-length', '-L')]
Every = Annotated[str | None, setting_option('keyframes.every', '--every')]
TopK = Annotated[int | None, setting_option('matching.top_k', '--top-k')]
Reverse = Annotated[bool | None, setting_option('matching.reverse', '--reverse/--no-reverse')]
FalsePositiveRate = Annotated[float | None, setting_option(
    'acceptance.false_positive_rate', '--false-positive-rate')]

# A drive to map and a drive to localize in it, each of one or more recordings.
Pairs = Annotated[Path | None, typer.Option(
    help='CSV file of frames that show the same place, with the columns query and map.',
    show_default='poses, or equal frame numbers')]
PairBy = Annotated[str, typer.Option(
    help="How frames of two image folders without poses are paired: 'position' in the folder, "
         "'number' in the name, 'name', or 'auto': by number or name where at least half of the "
         'frames have a counterpart.')]
MapPoses = Annotated[list[Path] | None, typer.Option(
    help='Pose file of the map: TUM, KITTI or CSV. One for all sources, or one for each.',
    show_default="the bag's poses")]
QueryPoses = Annotated[list[Path] | None, typer.Option(
    help='Pose file of the queries. One for all sources, or one for each.',
    show_default="the bag's poses")]
MapTruth = Annotated[list[str] | None, typer.Option(
    help='Pose file, or pose topic of the bag, with the true poses of the map.',
    show_default='its poses')]
QueryTruth = Annotated[list[str] | None, typer.Option(
    help='Pose file, or pose topic of the bag, with the true poses of the queries; their other '
         'poses then only space the images.', show_default='their poses')]
MapRange = Annotated[str | None, typer.Option(
    help='Frames of the map source to use, such as 0:400 or 400:.', show_default='all')]
QueryRange = Annotated[str | None, typer.Option(
    help='Frames of the query source to use, such as 0:400 or 400:.', show_default='all')]

# Two drives of a SeqNet data set, or two arrays.
Dataset = Annotated[str | None, typer.Option(
    help='nordland-sw, nordland-sf, oxford-v1.0, oxford-pnv, msls, or the folder of your own data '
         'set.', show_default=False)]
DatasetFolder = Annotated[Path | None, typer.Option(
    help='Folder of structFiles and data of a named data set.',
    show_default='the working directory')]
DatasetDescriptors = Annotated[str | None, typer.Option(
    help='Folder of the frame descriptors within data/descData.',
    show_default='netvlad-pytorch; of your own data set the only one')]
DatasetCity = Annotated[str | None, typer.Option(
    help='msls: the city.', show_default='melbourne to train, else austin')]
ReferenceArray = Annotated[Path | None, typer.Option(
    help='Instead of a data set: frame descriptors of the reference drive, .npy, shape N by D.',
    show_default=False)]
QueryArray = Annotated[Path | None, typer.Option(
    help='Frame descriptors of the query drive, .npy, shape M by D.', show_default=False)]
Struct = Annotated[Path | None, typer.Option(
    help='A .db struct: positions of both drives and the radius of a match.', show_default=False)]
Splits = Annotated[Path | None, typer.Option(
    help='An .npz file with the rows of the arrays that belong to each split: test_db, test_query '
         'and so on. Struct and bounds are then of these rows.', show_default='all rows')]
ReferenceBounds = Annotated[Path | None, typer.Option(
    '--seqbounds-reference', show_default='one sequence',
    help='Text file with a line for each reference frame: the first frame of its sequence and one '
         'past the last.')]
QueryBounds = Annotated[Path | None, typer.Option(
    '--seqbounds-query', help='The same for the query.', show_default='one sequence')]


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
        InputError: the text is not a list of numbers.
    """
    try:
        return tuple(float(part) for part in text.split(','))
    except ValueError:
        raise InputError(f'{option} is {quoted(text)}, expected numbers such as '
                         f'{example}') from None
