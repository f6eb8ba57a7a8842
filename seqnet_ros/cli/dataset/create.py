"""``seqnet_ros dataset create``: a data set of two recordings."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.dataset.info import struct_fields
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.datasets.recordings.frames import FrameSource
    from seqnet_ros.models.place_model import PlaceModel
    from seqnet_ros.training.seqnet.dataset_builder import Traverse

_logger = logging.getLogger(__name__)


def create(
    reference: Annotated[Path, typer.Argument(
        help='Reference drive: image folder, video or rosbag.', show_default=False)],
    query: Annotated[Path, typer.Argument(
        help='Query drive along the same route.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the data set, new or empty.', show_default=False)],
    radius: Annotated[float, typer.Option(
        help='Images within this distance show the same place, m; frames if there are no poses.',
        show_default=False)],
    positive_radius: Annotated[float, typer.Option(
        help='Positives for training are within this distance, m; frames if there are no poses.',
        show_default=False)],
    model: options.Model = '',
    every: Annotated[str | None, typer.Option(
        help="Spacing of the images to use: meters ('2m'), seconds ('0.5s') or images "
             "('3').", show_default='every image')] = None,
    reference_poses: Annotated[Path | None, typer.Option(
        help='Pose file of the reference: TUM, KITTI or CSV.',
        show_default="the bag's poses")] = None,
    query_poses: Annotated[Path | None, typer.Option(
        help='Pose file of the query.', show_default="the bag's poses")] = None,
    pair_by: options.PairBy = 'auto',
    name: Annotated[str | None, typer.Option(
        help='Name of the data set.', show_default='names of the recordings')] = None,
    split: Annotated[str, typer.Option(help="'train', 'val' or 'test'.")] = 'test',
    topic: options.Topic = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Make a data set of two drives, in the files that SeqNet's published code reads.

    Poses of both drives must be of one kind and in one frame; GPS positions use the origin of the
    reference. Without poses, frames are paired by --pair-by. Use the data set with `evaluate
    --dataset DIR`.

    Names and positions go to structFiles/NAME_SPLIT_*.db, descriptors to data/descData/MODEL,
    sequence bounds to structFiles/seqBoundsFiles and image names to structFiles/imageNamesFiles.
    The struct also keeps latitude and longitude if poses come from GPS, and the times of images
    that have some, ns.
    """
    from seqnet_ros.datasets.frame_pairing import check_pair_by, pair_drives
    from seqnet_ros.datasets.recordings.open_recording import PosedSource, open_source
    from seqnet_ros.models.place_model import load_model
    from seqnet_ros.training.seqnet import dataset_builder as builder

    by = check_pair_by(pair_by)
    name = builder.dataset_name(reference, query) if name is None else name
    builder.check_dataset_options(name, split, radius, positive_radius, output)
    # The pose topic is that of bags whose poses are not in a file.
    first = open_source(reference, topic, reference_poses,
                        pose_topic if reference_poses is None else None, rate)
    second = open_source(query, topic, query_poses, pose_topic if query_poses is None else None,
                         rate, datum=getattr(first, 'datum', None))
    builder.check_comparable(first, second)
    pairing = None
    if isinstance(first, PosedSource) and by != 'auto':
        raise InputError(f'--pair-by {by} was given for drives with poses, expected drives without')
    if not isinstance(first, PosedSource):
        named = not first.timed and not second.timed
        pairing = pair_drives((len(first), len(second)), (
            [frame.name for frame in first], [frame.name for frame in second]) if named else None,
            by)
        if pairing.note:
            _logger.warning('%s', pairing.note)
    place_model = load_model(model, device, weights)
    drives = (_traverse(first, place_model, reference, every),
              _traverse(second, place_model, query, every))
    if pairing is not None:
        drives = builder.place_traverses(*drives, pairing)
    struct = builder.make_struct(*drives, name, split, radius, positive_radius)
    builder.check_matches(struct)
    files = builder.write_dataset(struct, *drives, place_model.config.name, output)
    print_fields({
        'struct': files.struct, 'reference': files.descriptors[0], 'query': files.descriptors[1],
        'sequences': f'{len(drives[0].starts)} and {len(drives[1].starts)}',
        'poses': f'{first.pose_origin}; {second.pose_origin}', **struct_fields(struct)})


def _traverse(source: 'FrameSource', model: 'PlaceModel', location: Path,
              every: str | None) -> 'Traverse':
    from seqnet_ros.training.seqnet.dataset_builder import describe_traverse

    with progress_bar(f'describing {location.name}', len(source)) as show:
        return describe_traverse(source, model, location.resolve().name, show, every,
                                 source.timed)
