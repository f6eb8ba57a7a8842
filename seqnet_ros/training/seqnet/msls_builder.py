"""From a city of the Mapillary Street-level Sequences to the files of the published SeqNet code."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from seqnet_ros.datasets.db_struct import DbStruct, write_struct
from seqnet_ros.datasets.msls_drives import MslsDrive
from seqnet_ros.datasets.read_ahead import read_ahead
from seqnet_ros.datasets.seqnet_datasets import (
    BOUNDS,
    DESCRIPTORS,
    IMAGE_NAMES,
    PUBLISHED_DESCRIPTORS,
    STRUCTS,
)
from seqnet_ros.datasets.seqnet_files import write_bounds, write_names
from seqnet_ros.errors import InputError
from seqnet_ros.files import explain_write_errors
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.training.seqnet.dataset_builder import DatasetFiles

_BATCH = 16
_CITY = re.compile(r'[A-Za-z0-9-]+')


def city_struct(city: str, drives: tuple[MslsDrive, MslsDrive], split: str, radius: float,
                positive_radius: float) -> DbStruct:
    """Return the struct of a city; radii in metres."""
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
               progress: Callable[[int], None] = lambda _: None) -> None:
    """Describe the images of a city and write all its files; they appear when all are complete.

    Args:
        struct: of `city_struct`.
        drives: database and query.
        files: of `city_files`.
        output: folder of the files.
        model: what describes; None writes no descriptors.
        progress: told how many images of both drives are done.

    Raises:
        InputError: an image is missing or damaged, or a file cannot be written.
    """
    with explain_write_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f'.{struct.name}.', suffix='.part', dir=output))
        try:
            done = 0
            for index, drive in enumerate(drives):
                if model is not None:
                    path = _staged(files.descriptors[index], output, staging)
                    for count in _describe(drive, model, path):
                        done += count
                        progress(done)
                write_bounds(drive.bounds, _staged(files.bounds[index], output, staging))
                write_names(drive.names, _staged(files.names[index], output, staging))
            write_struct(struct, _staged(files.struct, output, staging))
            _move_all(staging, output, last=files.struct)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _staged(path: Path, output: Path, staging: Path) -> Path:
    staged = staging / path.relative_to(output)
    staged.parent.mkdir(parents=True, exist_ok=True)
    return staged


def _describe(drive: MslsDrive, model: PlaceModel, path: Path) -> Iterator[int]:
    """Describe images in batches; yield how many each had."""
    # A city may have 100 000 images: descriptors go to the disk as they are made.
    descriptors = np.lib.format.open_memmap(
        path, mode='w+', dtype=np.float32, shape=(len(drive.images), model.describer.dim))
    with closing(read_ahead(drive.images, _BATCH)) as pixels:
        for start in range(0, len(drive.images), _BATCH):
            images = []
            for image in islice(pixels, _BATCH):
                if isinstance(image, InputError):
                    raise image
                images.append(image)
            descriptors[start: start + len(images)] = model.describer.describe(images)
            yield len(images)
    descriptors.flush()


def _move_all(staging: Path, output: Path, last: Path) -> None:
    """Put files in their places, first those without which the struct says nothing."""
    paths = [path for path in staging.rglob('*') if path.is_file()]
    targets = {path: output / path.relative_to(staging) for path in paths}
    for path, target in sorted(targets.items(), key=lambda item: item[1] == last):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
