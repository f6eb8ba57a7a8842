"""Drives for the evaluation: frame descriptors, sequences, and the rows that take part."""

from dataclasses import dataclass, field, replace

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.dataset_files import bounds_of_starts
from seqnet_ros.datasets.seqnet.db_struct import DbStruct
from seqnet_ros.sequences.windows import centred_windows, is_full_window

_CHECKED_ROWS = 256


@dataclass(frozen=True)
class Drive:
    """The frames of one drive.

    Attributes:
        descriptors: float32 or float64 ``[F, D]``, may be memory-mapped.
        bounds: int64 ``[F, 2]``, for every frame the first and one-past-last frame of its
            sequence; one sequence where not given.
        rows: int64 ``[N]``, the frames that are searched or searched for; all where not given.
            Predictions are indices into these.
        backwards: windows run from the newest to the oldest frame, as if driven the other way.
        published_windows: windows leave sequences that are too short, as in SeqNet's code.
    """

    descriptors: np.ndarray
    bounds: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    backwards: bool = False
    published_windows: bool = False

    @classmethod
    def of(cls, descriptors: np.ndarray, bounds: np.ndarray | None = None,
           backwards: bool = False) -> 'Drive':
        """Check and wrap the descriptors of a drive.

        Args:
            descriptors: floating-point ``[F, D]``, may be memory-mapped.
            bounds: int ``[F, 2]``; one sequence where None.
            backwards: the drive is to be read from its end to its beginning.

        Raises:
            InputError: it is not such an array, a value is not finite, or the bounds are of other
                frames.
        """
        if descriptors.ndim != 2 or not descriptors.size or descriptors.dtype.kind != 'f':
            raise InputError(f'descriptors are {descriptors.dtype} of shape '
                             f'{list(descriptors.shape)}, expected floating-point [N, D]')
        for start in range(0, len(descriptors), _CHECKED_ROWS):
            with np.errstate(over='ignore'):  # what float32 cannot hold is found below
                chunk = descriptors[start: start + _CHECKED_ROWS].astype(np.float32, copy=False)
            finite = np.isfinite(chunk).all(axis=1)
            if not finite.all():
                raise InputError(f'descriptor {start + int(finite.argmin())} holds a value that '
                                 'is not finite')
        frames = len(descriptors)
        if bounds is None:
            bounds = np.tile(np.array([0, frames]), (frames, 1))
        if len(bounds) != frames:
            raise InputError(f'found sequence bounds for {len(bounds)} frames, but {frames} '
                             'descriptors')
        return cls(descriptors, np.asarray(bounds, dtype=np.int64), np.arange(frames), backwards)

    def with_full_windows(self, length: int) -> 'Drive':
        """Return the drive without the rows whose centered window does not fit their sequence.

        Raises:
            InputError: no row is left.
        """
        full = is_full_window(self._directed_bounds(), length)
        rows = self.rows[self._undirected(full)[self.rows]]
        if not len(rows):
            raise InputError(self._too_long(length))
        return replace(self, rows=rows)

    def cut_to(self, kept: np.ndarray) -> 'Drive':
        """Return the drive with some of its rows; windows contain no other frames.

        Args:
            kept: bool ``[N]``, which rows stay. Sequences end where a row was removed.
        """
        rows = self.rows[kept]
        seen = np.zeros(len(self.bounds), dtype=bool)
        seen[rows] = True
        breaks = (seen[1:] != seen[:-1]) | (self.bounds[1:, 0] != self.bounds[:-1, 0])
        starts = np.append(0, np.flatnonzero(breaks) + 1)
        return replace(self, rows=rows, bounds=bounds_of_starts(starts, len(seen)))

    def windows(self, length: int, speed: float = 1.0) -> np.ndarray:
        """Return the frames of the window of each row.

        Args:
            length: frames per window.
            speed: frames from one position of the window to the next, rounded to whole frames;
                such windows never leave the sequence.

        Returns:
            int64 ``[N, length]``.

        Raises:
            InputError: no sequence is that long, or a published window leaves the last frame.
        """
        bounds = self._directed_bounds()
        if not self.published_windows and length > int(np.diff(bounds).max()):
            raise InputError(self._too_long(length))
        windows = centred_windows(bounds, length, self.published_windows)
        if speed != 1:
            steps = np.rint(speed * (np.arange(length) - length // 2)).astype(np.int64)
            windows = np.clip(windows[:, [length // 2]] + steps, bounds[:, :1], bounds[:, 1:] - 1)
        frames = len(bounds)
        if windows.max() >= frames:
            raise InputError(f'the window of frame {int(windows.max(axis=1).argmax())} ends beyond '
                             f'the {frames} frames: its sequence is shorter than {length}')
        windows %= frames  # a negative frame of a published window is one from the end
        if self.backwards:
            windows = frames - 1 - windows
        return self._undirected(windows)[self.rows]

    def _directed_bounds(self) -> np.ndarray:
        return len(self.bounds) - self.bounds[::-1, ::-1] if self.backwards else self.bounds

    def _undirected(self, values: np.ndarray) -> np.ndarray:
        return values[::-1] if self.backwards else values

    def _too_long(self, length: int) -> str:
        longest = int(np.diff(self.bounds).max())
        return (f'windows of {length} frames do not fit: the longest sequence has {longest} '
                'frames')


def row_positions(struct: DbStruct, reference: Drive,
                  query: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions ``[N, K]`` and ``[M, K]`` of the rows of two drives.

    Raises:
        InputError: the struct has other numbers of frames.
    """
    for what, drive, positions in (('database', reference, struct.db_positions),
                                   ('query', query, struct.q_positions)):
        if len(drive.descriptors) != len(positions):
            raise InputError(f'{struct.name} lists {len(positions)} {what} images, but there are '
                             f'{len(drive.descriptors)} {what} descriptors')
    return struct.db_positions[reference.rows], struct.q_positions[query.rows]


def join_as_published(reference: Drive, query: Drive) -> tuple[Drive, Drive]:
    """Put both drives into one array, as SeqNet's code does, so that windows can spill over.

    There the windows of sequences that are shorter than the window reach into the next or the
    previous sequence, even of the other drive.

    Raises:
        InputError: a drive is read backwards, which the published code does not support.
    """
    if reference.backwards or query.backwards:
        raise InputError('windows as in the published code were requested for a drive read '
                         'backwards, expected a drive read forwards')
    offset = len(reference.descriptors)
    both = Drive(np.concatenate([reference.descriptors, query.descriptors]),
                 np.concatenate([reference.bounds, query.bounds + offset]),
                 reference.rows, published_windows=True)
    return both, replace(both, rows=query.rows + offset)
