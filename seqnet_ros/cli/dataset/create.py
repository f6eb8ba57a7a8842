"""``seqnet_ros dataset``: data for evaluation and training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options, rendering
from seqnet_ros.cli.console import INCOMPLETE, print_fields, print_table, progress_bar
from seqnet_ros.cli.dataset.prepare import msls as prepare

if TYPE_CHECKING:
    from seqnet_ros.datasets.db_struct import DbStruct
    from seqnet_ros.datasets.frames import FrameSource
    from seqnet_ros.datasets.published_caches import ClassCache, SequenceCache
    from seqnet_ros.place_model import PlaceModel
    from seqnet_ros.training.seqnet.dataset_builder import Traverse

app = typer.Typer(no_args_is_help=True, help='Make data sets for evaluation and training.')
app.add_typer(prepare.app, name='prepare')
app.command()(rendering.render)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(
        help="A .db struct, or a .torch cache of JIST's or CosPlace's published code.",
        show_default=False)],
) -> None:
    """Show what a struct says of its two drives, and how many places they share.

    Of a cache of the published code, which is never needed, what it keeps.
    """
    if file.suffix == '.torch':
        from seqnet_ros.datasets.published_caches import read_cache

        print_fields({'cache': file, **_describe_cache(read_cache(file))})
        return
    from seqnet_ros.datasets.db_struct import read_struct

    print_fields({'struct': file, **_describe(read_struct(file))})


@app.command()
def create(
    reference: Annotated[Path, typer.Argument(
        help='The drive that is searched: image folder, video or rosbag.', show_default=False)],
    query: Annotated[Path, typer.Argument(
        help='The drive that asks, along the same route.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the data set, new or empty.', show_default=False)],
    radius: Annotated[float, typer.Option(
        help='Two places within this distance are the same, m; without poses, frames.',
        show_default=False)],
    positive_radius: Annotated[float, typer.Option(
        help='Positives for training lie within this distance, m; without poses, frames.',
        show_default=False)],
    model: options.Model = 'hog',
    every: Annotated[str | None, typer.Option(
        help="Spacing of the images that are used: metres ('2m'), seconds ('0.5s') or images "
             "('3').", show_default='every image')] = None,
    reference_poses: Annotated[Path | None, typer.Option(
        help='Pose file of the reference: TUM, KITTI or CSV.',
        show_default="the bag's poses")] = None,
    query_poses: Annotated[Path | None, typer.Option(
        help='Pose file of the query.', show_default="the bag's poses")] = None,
    name: Annotated[str | None, typer.Option(
        help='Name of the data set.', show_default='those of the recordings')] = None,
    split: Annotated[str, typer.Option(help="'train', 'val' or 'test'.")] = 'test',
    topic: options.Topic = None,
    rate: options.Rate = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Make a data set of two drives, in the files that SeqNet's published code reads.

    Poses of the two have to be in one frame; GPS positions get the origin of the reference.
    Without poses, frame i of one drive is taken to show what frame i of the other shows.
    """
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.place_model import load_model
    from seqnet_ros.training.seqnet import dataset_builder as builder

    name = builder.dataset_name(reference, query) if name is None else name
    builder.check_dataset_options(name, split, radius, positive_radius, output)
    first = open_source(reference, topic, reference_poses, rate=rate)
    second = open_source(query, topic, query_poses, rate=rate,
                         datum=getattr(first, 'datum', None))
    builder.check_comparable(first, second)
    place_model = load_model(model, device, weights)
    drives = (_traverse(first, place_model, reference, every),
              _traverse(second, place_model, query, every))
    struct = builder.make_struct(*drives, name, split, radius, positive_radius)
    files = builder.write_dataset(struct, *drives, place_model.config.name, output)
    print_fields({
        'struct': files.struct, 'reference': files.descriptors[0], 'query': files.descriptors[1],
        'sequences': f'{len(drives[0].starts)} and {len(drives[1].starts)}',
        'poses': f'{first.pose_origin}; {second.pose_origin}', **_describe(struct)})


@app.command('create-msls')
def create_msls(
    folder: Annotated[Path, typer.Argument(
        help='The Mapillary Street-level Sequences: the folder that holds train_val.',
        show_default=False)],
    city: Annotated[str, typer.Argument(
        help='A folder in train_val, such as melbourne.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for the files; other cities in it stay.', show_default=False)],
    radius: Annotated[float, typer.Option(
        help='Two places within this distance are the same, m.')] = 10.0,
    positive_radius: Annotated[float, typer.Option(
        help='Positives for training lie within this distance, m.')] = 10.0,
    split: Annotated[str, typer.Option(help="'train', 'val' or 'test'.")] = 'test',
    model: options.Model = 'hog',
    no_describe: Annotated[bool, typer.Option(
        '--no-describe', help='Make no descriptors, even where there are images.',
        show_default=False)] = False,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Make a SeqNet data set of a city of MSLS, for `--dataset msls --city CITY` of other commands.

    Sequences are frames of one key with successive numbers; panoramas are left out. Without an
    images folder there are no descriptors.
    """
    from seqnet_ros.datasets.msls_drives import read_city
    from seqnet_ros.place_model import load_model
    from seqnet_ros.training.seqnet import msls_builder
    from seqnet_ros.training.seqnet.dataset_builder import check_split_and_radii

    check_split_and_radii(split, radius, positive_radius)
    drives = read_city(folder, city)
    struct = msls_builder.city_struct(city, drives, split, radius, positive_radius)
    described = not no_describe and all(drive.images[0].parent.is_dir() for drive in drives)
    place_model = load_model(model, device, weights) if described else None
    kind = None if place_model is None else place_model.config.name
    files = msls_builder.city_files(city, radius, positive_radius, kind, output)
    images = sum(len(drive.images) for drive in drives)
    with progress_bar(f'describing {city}', images) as show:
        struct, drives = msls_builder.write_city(
            struct, drives, files, output, place_model, show)
    print_fields({
        'struct': files.struct,
        'descriptors': f'none, expected in {files.descriptors[0].parent}' if kind is None
        else files.descriptors[0].parent,
        'sequences': f'{drives[0].sequences} and {drives[1].sequences}',
        'panoramas left out': f'{drives[0].panoramas} and {drives[1].panoramas}',
        **_describe(struct)})


@app.command()
def download(
    name: Annotated[str, typer.Argument(
        help='nordland-sw, nordland-sf, oxford-v1.0, oxford-pnv or msls.', show_default=False)],
    folder: Annotated[Path, typer.Option(
        help='Where structFiles and data of the data set lie.')] = Path(),
    descriptors: Annotated[str | None, typer.Option(
        help='Folder of the descriptors within data/descData.',
        show_default='netvlad-pytorch')] = None,
    city: Annotated[str | None, typer.Option(
        help='msls: the city.', show_default='melbourne and austin')] = None,
) -> None:
    """Tell where a published data set comes from, and check what is there of it.

    Nothing is downloaded: most parts lie behind pages of their owners, without a stable address.
    The exit status is 0 only where everything needed is there and in order, else 1.
    """
    from seqnet_ros.datasets.dataset_inventory import inspect, is_complete, sources

    parts = inspect(name, folder, descriptors, city)
    print_fields(sources(name))
    print_table((f'part in {folder}', 'state', ''), [
        (part.name, part.state, part.detail) for part in parts])
    if not is_complete(parts):
        raise typer.Exit(INCOMPLETE)


def _traverse(source: 'FrameSource', model: 'PlaceModel', location: Path,
              every: str | None) -> 'Traverse':
    from seqnet_ros.datasets.rosbag import is_bag
    from seqnet_ros.training.seqnet.dataset_builder import describe_traverse

    # The images of a folder have no times of their own.
    timed = is_bag(location) or not location.is_dir()
    with progress_bar(f'describing {location.name}', len(source)) as show:
        return describe_traverse(source, model, location.resolve().name, show, every, timed)


def _describe_cache(cache: 'SequenceCache | ClassCache') -> dict[str, object]:
    from seqnet_ros.datasets.published_caches import ClassCache

    if isinstance(cache, ClassCache):
        sizes = [len(group) for group in cache.groups]
        return {'images': sum(map(len, cache.images.values())),
                'classes': len(cache.images),
                'groups': f'{len(sizes)} of {min(sizes, default=0)} to {max(sizes, default=0)} '
                          'classes'}
    matched = len(cache.matched_queries)
    mean = sum(map(len, cache.positives)) / max(1, matched)
    return {'sequences': f'{len(cache.database)} of the database, {len(cache.queries)} queries, '
                         f'of {cache.database.windows.shape[1]} frames',
            'cities': ', '.join(sorted(set(cache.database.frames.cities))),
            'queries without match': len(cache.queries) - matched,
            'matches per query': f'{mean:.2f}, of those that have any'}


def _describe(struct: 'DbStruct') -> dict[str, object]:
    from scipy.spatial import cKDTree

    found = cKDTree(struct.db_positions).query_ball_point(
        struct.q_positions, struct.radius, return_length=True)
    unit = 'frames' if struct.db_positions.shape[1] == 1 else 'm'
    positive = struct.positive_radius
    return {
        'name': struct.name,
        'split': struct.split,
        'images': f'{len(struct.db_images)} reference, {len(struct.q_images)} query',
        'positions': 'frame numbers' if unit == 'frames' else
        f'{struct.db_positions.shape[1]} coordinates, metres',
        'radius': f'{struct.radius:g} {unit}',
        'radius of positives': 'not stated' if positive is None else f'{positive:g} {unit}',
        'queries without match': int((found == 0).sum()),
        'matches per query': f'{found.mean():.2f}' if len(found) else 'none',
    }
