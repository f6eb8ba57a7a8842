"""From a city of the Mapillary Street-level Sequences to the files of the published SeqNet code."""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from seqnet_ros.core.array_files import save_array
from seqnet_ros.core.batches import batches
from seqnet_ros.core.errors import DamagedImageError, InputError
from seqnet_ros.core.files import staging_folder
from seqnet_ros.datasets.prefetch import prefetch_images
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk, warn_damaged
from seqnet_ros.datasets.seqnet.dataset_files import write_bounds, write_names
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, write_struct
from seqnet_ros.datasets.seqnet.msls_drives import MslsDrive
from seqnet_ros.datasets.seqnet.splits import (
    BOUNDS,
    DESCRIPTORS,
    IMAGE_NAMES,
    PUBLISHED_DESCRIPTORS,
    STRUCTS,
)
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.training.seqnet.dataset_builder import DatasetFiles

_BATCH = 16
_CITY = re.compile(r'[A-Za-z0-9-]+')


def city_struct(city: str, drives: tuple[MslsDrive, MslsDrive], split: str, radius: float,
                positive_radius: float) -> DbStruct:
    """Return the struct of a city; radii in meters."""
    database, query = drives
    return DbStruct(f'msls_{city}', split, database.names, query.names, database.positions,
                    query.positions, radius, positive_radius, database.gps, query.gps)


def city_files(city: str, radius: float, positive_radius: float, model: str | None,
               output: Path) -> DatasetFiles:
    """Return where the files of a city go.

    Args:
        city: its name.
        radius: of `city_struct`.
        positive_radius: of `city_struct`.
        model: name of the model that describes; None where the descriptors come from elsewhere.
        output: folder of the files.

    Raises:
        InputError: the city cannot name files, or one of them exists.
    """
    if not _CITY.fullmatch(city):
        raise InputError(f'the city is {city!r}, expected a name such as melbourne')
    stems = [f'msls_{city}_{part}' for part in ('database', 'query')]

    def pair(folder: Path, ending: str) -> tuple[Path, Path]:
        return output / folder / f'{stems[0]}{ending}', output / folder / f'{stems[1]}{ending}'

    files = DatasetFiles(
        output / STRUCTS / f'msls_{city}_d-{radius:g}_d2-{positive_radius:g}.db',
        pair(DESCRIPTORS / (model or PUBLISHED_DESCRIPTORS), '.npy'),
        pair(BOUNDS, '_seqBounds.txt'), pair(IMAGE_NAMES, '_imageNames.txt'))
    structs = (output / STRUCTS).glob(f'msls_{city}_d-*.db')
    made = () if model is None else files.descriptors
    taken = [path for path in (*structs, *made, *files.bounds, *files.names) if path.exists()]
    if taken:
        raise InputError(f'{taken[0]} exists, expected a folder without files of {city}')
    return files


def write_city(struct: DbStruct, drives: tuple[MslsDrive, MslsDrive], files: DatasetFiles,
               output: Path, model: PlaceModel | None,
               progress: Callable[[int], None] = lambda _: None,
               ) -> tuple[DbStruct, tuple[MslsDrive, MslsDrive]]:
    """Describe the images of a city and write all its files; they appear when all are complete.

    Images that are missing or damaged are skipped, and break their sequence.

    Args:
        struct: of `city_struct`.
        drives: database and query.
        files: of `city_files`.
        output: folder of the files.
        model: its frame descriptor is used; None writes no descriptors.
        progress: called with the number of images of both drives done.

    Returns:
        What was written: the struct and the drives without skipped images.

    Raises:
        InputError: no image of a drive can be read, or a file cannot be written.
    """
    with staging_folder(output / struct.name) as staging:
        if model is not None:
            paths = [_staged(path, output, staging) for path in files.descriptors]
            drives = _describe_drives(drives, model, paths, progress)
            struct = replace(
                struct, db_images=drives[0].names, q_images=drives[1].names,
                db_positions=drives[0].positions, q_positions=drives[1].positions,
                db_gps=drives[0].gps, q_gps=drives[1].gps)
        for index, drive in enumerate(drives):
            write_bounds(drive.bounds, _staged(files.bounds[index], output, staging))
            write_names(drive.names, _staged(files.names[index], output, staging))
        write_struct(struct, _staged(files.struct, output, staging))
        _move_all(staging, output, last=files.struct)
    return struct, drives


def _staged(path: Path, output: Path, staging: Path) -> Path:
    staged = staging / path.relative_to(output)
    staged.parent.mkdir(parents=True, exist_ok=True)
    return staged


def _describe_drives(drives: tuple[MslsDrive, MslsDrive], model: PlaceModel, paths: Sequence[Path],
                     progress: Callable[[int], None]) -> tuple[MslsDrive, MslsDrive]:
    """Write the descriptors of both drives; return the drives without skipped images."""
    done = 0

    def count(_: int) -> None:
        nonlocal done
        done += 1
        progress(done)

    walks = [FrameWalk(range(len(drive.images)), progress=count) for drive in drives]
    database, query = (_describe(drive, model, path, walk)
                       for drive, path, walk in zip(drives, paths, walks, strict=True))
    warn_damaged([problem for walk in walks for problem in walk.damaged], done)
    return database, query


def _describe(drive: MslsDrive, model: PlaceModel, path: Path, walk: FrameWalk[int]) -> MslsDrive:
    """Write the descriptors of a drive; return the drive without skipped images."""
    count = len(drive.images)
    # A city may have 100 000 images: descriptors go to the disk as they are made.
    descriptors = np.lib.format.open_memmap(
        path, mode='w+', dtype=np.float32, shape=(count, model.describer.dim))
    # Room is taken now: a full disk would end the program when the array is filled.
    with path.open('r+b') as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    rows: list[int] = []
    with closing(prefetch_images(drive.images, _BATCH)) as pixels:
        for batch in batches(walk.results(lambda _: _checked(next(pixels))), _BATCH):
            descriptors[len(rows): len(rows) + len(batch)] = model.describer.describe(
                [image for _, image in batch])
            rows += [row for row, _ in batch]
    walk.require_used(str(drive.images[0].parent))
    descriptors.flush()
    if len(rows) == count:
        return drive
    _shorten(path, len(rows))
    lost = np.ones(count, dtype=bool)
    lost[rows] = False
    return drive.without(lost)


def _checked(image: np.ndarray | InputError) -> np.ndarray:
    if isinstance(image, InputError):
        raise DamagedImageError(str(image)) from image
    return image


def _shorten(path: Path, count: int) -> None:
    """Cut an array on disk to its first rows."""
    whole = np.load(path, mmap_mode='r')
    shorter = path.with_name(f'{path.name}.shorter')
    with shorter.open('wb') as file:
        save_array(file, whole[:count])
    shorter.replace(path)


def _move_all(staging: Path, output: Path, last: Path) -> None:
    """Move files to their places, the struct after the files that it needs."""
    paths = [path for path in staging.rglob('*') if path.is_file()]
    targets = {path: output / path.relative_to(staging) for path in paths}
    for path, target in sorted(targets.items(), key=lambda item: item[1] == last):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
