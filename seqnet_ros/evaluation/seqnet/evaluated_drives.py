"""Drives and ground truth for the evaluation of SeqNet's methods."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from seqnet_ros.datasets.frame_pairing import FramePairing
    from seqnet_ros.datasets.seqnet.dataset_files import Traverses
    from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
    from seqnet_ros.evaluation.seqnet.drives import Drive

USUAL_SPLIT = 'test'

_NOWHERE = -1e6
_MSLS = 'msls'


@dataclass(frozen=True, eq=False)
class Drives:
    """Two drives with their ground truth.

    Attributes:
        reference: reference drive.
        query: query drive.
        frame_positions: of all frames of both, ``[F, K]`` each.
        radius: places within this distance are the same.
        unit: of positions and radius.
        origin: where the drives come from, for the results.
        published_with_full_windows: the published code skips windows that do not fit.
        listed: true matches of all frames; None where positions tell.
        note: doubt about the pairs of frames; empty where there is none.
    """

    reference: 'Drive'
    query: 'Drive'
    frame_positions: tuple['np.ndarray', 'np.ndarray']
    radius: float
    unit: str
    origin: dict[str, str]
    published_with_full_windows: bool = False
    listed: 'GroundTruth | None' = None
    note: str = ''

    @property
    def truth(self) -> 'GroundTruth | None':
        """The listed matches of the frames that take part; None where positions tell."""
        if self.listed is None:
            return None
        return self.listed.take(self.reference.rows, self.query.rows)

    @property
    def positions(self) -> tuple['np.ndarray', 'np.ndarray']:
        """Positions ``[N, K]`` and ``[M, K]`` of the frames that take part."""
        return (self.frame_positions[0][self.reference.rows],
                self.frame_positions[1][self.query.rows])

    def with_full_windows(self, length: int) -> 'Drives':
        """Return the drives without the frames whose window of this length does not fit.

        Raises:
            InputError: no frame remains.
        """
        return replace(self, reference=self.reference.with_full_windows(length),
                       query=self.query.with_full_windows(length))


@dataclass(frozen=True)
class DatasetChoice:
    """A split of a data set."""

    dataset: str
    split: str
    folder: Path | None
    descriptors: str | None
    city: str | None

    def open(self, reverse: bool) -> Drives:
        """Read the drives.

        Raises:
            InputError: a file is missing or damaged, or files are inconsistent.
        """
        from seqnet_ros.datasets.seqnet.splits import open_split
        from seqnet_ros.evaluation.seqnet.drives import Drive

        found = open_split(self.dataset, self.split, self.folder, self.descriptors, self.city)
        reference = Drive.of(found.descriptors[0], found.bounds[0])
        query = Drive.of(found.descriptors[1], found.bounds[1], reverse)
        positions = found.struct.db_positions, found.struct.q_positions
        return Drives(reference, query, positions, found.struct.radius, _unit(positions[0]),
                      {'dataset': found.name, 'split': self.split},
                      published_with_full_windows=self.dataset == _MSLS and self.split != 'train')


@dataclass(frozen=True)
class ArrayChoice:
    """Arrays of descriptors, with the source of their ground truth."""

    reference: Path
    query: Path
    struct: Path | None
    tolerance: int | None
    bounds: tuple[Path | None, Path | None]
    splits: Path | None
    split: str
    ground_truth: Path | None = None
    pairs: Path | None = None

    def open(self, reverse: bool) -> Drives:
        """Read the drives.

        Raises:
            InputError: a file is missing or damaged, or files are inconsistent.
        """
        import numpy as np

        from seqnet_ros.datasets.seqnet.db_struct import read_struct
        from seqnet_ros.evaluation.seqnet.drives import row_positions

        rows = self._split_rows()
        reference = _open_drive(self.reference, self.bounds[0], rows and rows.db)
        query = _open_drive(self.query, self.bounds[1], rows and rows.query, reverse)
        origin = {'reference': str(self.reference), 'query': str(self.query)}
        listed = self._listed()
        if listed is not None and rows is not None:
            listed = listed.take(rows.db, rows.query)
        if listed is not None:
            origin['ground_truth'] = str(self.ground_truth or self.pairs)
        if self.struct is None:
            # Without a struct, the rows of the files serve as positions, or the numbers of images.
            numbers = (reference.rows, query.rows) if rows is None else rows
            pairing = self._pair()
            positions = (pairing.reference[numbers[0], None],
                         # No reference is near a frame whose place is unknown.
                         np.nan_to_num(pairing.query, nan=_NOWHERE)[numbers[1], None])
            return Drives(reference, query, positions, float(self.tolerance or 0), 'frames', origin,
                          listed=listed, note='' if listed is not None else pairing.note)
        struct = read_struct(self.struct)
        positions = row_positions(struct, reference, query)
        return Drives(reference, query, positions, struct.radius, _unit(positions[0]), origin)

    def _listed(self) -> 'GroundTruth | None':
        """Read the true matches of all rows of the files."""
        from seqnet_ros.datasets.seqnet.dataset_files import names_beside, open_descriptors
        from seqnet_ros.evaluation.metrics.ground_truth_files import (
            read_ground_truth,
            read_pair_table,
        )

        table = self.pairs
        if self.ground_truth is not None and self.ground_truth.suffix == '.csv':
            table = self.ground_truth
        if table is not None:
            references, queries = (names_beside(path, len(open_descriptors(path)))
                                   for path in (self.reference, self.query))
            return read_pair_table(table, references, queries, self.tolerance or 0)
        if self.ground_truth is None:
            return None
        return read_ground_truth(self.ground_truth, *(
            len(open_descriptors(path)) for path in (self.reference, self.query)))

    def _pair(self) -> 'FramePairing':
        """Pair all rows of the files, by the names of images where both files have them."""
        from seqnet_ros.datasets.frame_pairing import pair_drives
        from seqnet_ros.datasets.seqnet.dataset_files import (
            names_beside,
            names_path,
            open_descriptors,
        )

        paths = self.reference, self.query
        counts = len(open_descriptors(paths[0])), len(open_descriptors(paths[1]))
        named = all(names_path(path).is_file() for path in paths)
        return pair_drives(counts, (names_beside(paths[0], counts[0]), names_beside(
            paths[1], counts[1])) if named else None, 'auto')

    def _split_rows(self) -> 'Traverses | None':
        from seqnet_ros.datasets.seqnet.dataset_files import read_splits

        if self.splits is None:
            return None
        found = read_splits(self.splits)
        if self.split not in found:
            raise InputError(f'{self.splits} lists the rows of {", ".join(found)}, expected '
                             f'{self.split!r} among them')
        return found[self.split]


def _unit(positions: 'np.ndarray') -> str:
    return 'm' if positions.shape[1] > 1 else 'frames'


def _open_drive(path: Path, bounds_path: Path | None, rows: 'np.ndarray | None',
                backwards: bool = False) -> 'Drive':
    from seqnet_ros.datasets.seqnet.dataset_files import (
        open_descriptors,
        read_bounds,
        read_descriptors,
    )
    from seqnet_ros.evaluation.seqnet.drives import Drive

    bounds = None if bounds_path is None else read_bounds(bounds_path)
    descriptors = open_descriptors(path) if rows is None else read_descriptors(path, rows)
    try:
        return Drive.of(descriptors, bounds, backwards)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
