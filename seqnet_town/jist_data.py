"""Everything that JIST trains and tests on, as one rendered data set: a town for each split."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from seqnet_ros.core.errors import InputError
from seqnet_town.camera import Camera
from seqnet_town.conditions import CONDITIONS, Condition
from seqnet_town.export import Export, plan_sequences, plan_sf_xl
from seqnet_town.world import Town

_SPLITS = ('train', 'val', 'test')
_IMAGES_A_CLASS = 16
_CLASS_M = 10.0
_FEW_HEADINGS = (0, 90, 180, 270)


class JistData:
    """The parts of a data set: ``sf_xl/processed`` of single images and ``msls`` of sequences.

    Args:
        folder: folder of the parts.
        seed: of the town of train; val and test have the towns of the next seeds.
        blocks: columns and rows of blocks of a town.
        database: names of conditions; the single images and a database drive show each.
        queries: names of the conditions of the query drives.
        length: how far each drive goes, meters; once round where None.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(self, folder: str | PathLike[str], seed: int, blocks: tuple[int, int],
                 database: Sequence[str], queries: Sequence[str],
                 length: float | None = None) -> None:
        self._folder = Path(folder)
        self._database = _conditions(database)
        self._queries = _conditions(queries)
        self._towns = {split: Town(seed + number, blocks) for number, split in enumerate(_SPLITS)}
        self._length = length

    def plan_images(self, size: int) -> dict[str, Export]:
        """Plan single images: dense for classes, sparse for the search that validates.

        Args:
            size: edge of an image, pixels.

        Returns:
            The images to render, by the folder of the part.
        """
        root = Path('sf_xl', 'processed')
        train, database, queries = (
            str(root / part) for part in ('train', 'val/database', 'val/queries'))
        return {
            train: plan_sf_xl(
                self._towns['train'], self._folder / train, self._database, size=size,
                length=self._length, spacing=_CLASS_M * len(self._database) / _IMAGES_A_CLASS),
            database: plan_sf_xl(
                self._towns['val'], self._folder / database, self._database[:1], size=size,
                length=self._length, spacing=_CLASS_M),
            queries: plan_sf_xl(
                self._towns['val'], self._folder / queries, self._queries[:1], size=size,
                length=self._length, spacing=_CLASS_M, headings=_FEW_HEADINGS, seed=1)}

    def plan_sequences(self, width: int) -> dict[str, Export]:
        """Plan sequences of all splits.

        Args:
            width: of an image, pixels; the height is 3/4 of it.

        Returns:
            The images to render, by the folder of the part.
        """
        camera = Camera(width, width * 3 // 4)
        parts = {str(Path('msls', split)): town for split, town in self._towns.items()}
        return {part: plan_sequences(town, self._folder / part, f'town{town.seed}',
                                     self._database, self._queries, camera=camera,
                                     length=self._length)
                for part, town in parts.items()}


def _conditions(names: Sequence[str]) -> list[Condition]:
    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise InputError(f'condition {unknown[0]!r} is unknown, expected some of '
                         f'{", ".join(CONDITIONS)}')
    return [CONDITIONS[name] for name in names]
