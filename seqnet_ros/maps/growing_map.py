"""A map of the current drive, which grows place by place and can be searched at any time."""

import mmap
from collections import deque

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import distance, median_step
from seqnet_ros.maps.index import GrowingIndex
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.place_filter.turns import LEAST_TURN, turn_between
from seqnet_ros.sequences.aggregators import aggregate, describe_frames

SETTLED = 512
"""The mean of the drive is fixed from this many places on: more places hardly change it, and every
change recomputes all descriptors."""
_GROWN_BY = 1.25
_STEPS_LOOKED_AT = 1000
_MAP_NORESERVE = getattr(mmap, 'MAP_NORESERVE', 0x4000)


class GrowingMap:
    """Places of the current drive; searches find only places that were released with `release`.

    Frames are centered with the mean of the drive. While the drive is short the mean is estimated
    again whenever the drive has grown by a quarter, and all descriptors with it.

    Args:
        model: describes sequences, and frames once more where it has a projection.
        length: frames per sequence.
        capacity: maximum number of places. Memory is allocated page by page, and never moves.
    """

    def __init__(self, model: PlaceModel, length: int, capacity: int) -> None:
        self._model = model
        dim = model.describer.dim
        trial = np.zeros((length, dim), dtype=np.float32)
        self._length = length
        self._frames = _reserve(capacity, dim)
        self._projected = None if model.projection is None else _reserve(
            capacity, describe_frames(model.projection, trial[:1]).shape[1])
        self._sequence_dim = aggregate(
            model.aggregator, trial, np.arange(length)[None]).shape[1]
        self._poses = np.empty((capacity, 7))
        self._starts = np.empty(capacity, dtype=np.int64)
        self._count = 0
        self._boundaries: list[int] = []
        self._step_m, self._step_due = 0.0, 2
        self._turns = np.zeros(capacity)
        self._turned = False
        self._steps, self._way_m = 0, 0.0
        self._early: list[np.ndarray] | None = [] if model.config.centring else None
        self._mean: np.ndarray | None = None
        self._mean_due = 1
        self._waiting: deque[np.ndarray] = deque()
        self._newest = np.zeros(self._sequence_dim, dtype=np.float32)
        self.index = GrowingIndex(self._sequence_dim)

    def __len__(self) -> int:
        """Return the number of places, released or not."""
        return self._count

    @property
    def released(self) -> int:
        """Number of places that can be found."""
        return len(self.index)

    @property
    def capacity(self) -> int:
        """Maximum number of places."""
        return len(self._frames)

    @property
    def matching_frames(self) -> np.ndarray:
        """The frames that sequence matching compares, float32 ``[capacity, D'']``."""
        return self._frames if self._projected is None else self._projected

    @property
    def positions(self) -> np.ndarray:
        """Positions of the places, float64 ``[N, 3]``, meters."""
        return self._poses[:self._count, :3]

    @property
    def poses(self) -> np.ndarray:
        """Poses of the places, float64 ``[N, 7]``, meters."""
        return self._poses[:self._count]

    @property
    def segment_starts(self) -> np.ndarray:
        """First place of the unbroken stretch each place is on, int64 ``[N]``."""
        return self._starts[:self._count]

    @property
    def step_m(self) -> float:
        """Median distance between successive places, meters."""
        return self._step_m

    @property
    def mean_step_m(self) -> float:
        """Mean distance between successive places of unbroken stretches, meters."""
        return self._way_m / self._steps if self._steps else 0.0

    @property
    def turns(self) -> np.ndarray | None:
        """How much the drive turned on the way to each place, radians per meter, ``[N]``.

        None where headings are not known, or the drive never turned.
        """
        return self._turns[:self._count] if self._turned else None

    def stretches(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first place and one past the last released place of the stretch of each."""
        ends = np.array([*self._boundaries[1:], self._count])
        ends = ends[np.searchsorted(ends, places, side='right')]
        return self._starts[places], np.minimum(ends, self.released)

    def check_room(self) -> None:
        """Check that there is room for another place.

        Raises:
            InputError: there is no room for another place.
        """
        if self._count == self.capacity:
            raise InputError(
                f'the drive has {self._count} places, the maximum allowed')

    def add(self, descriptor: np.ndarray, pose: np.ndarray, segment_start: int) -> int:
        """Add a place; return its number.

        Args:
            descriptor: float32 ``[D]``, as the model's describer made it.
            pose: ``[7]``, meters.
            segment_start: first place of its unbroken stretch.

        Raises:
            InputError: there is no room for another place.
        """
        self.check_room()
        place = self._count
        self._poses[place] = pose
        self._starts[place] = segment_start
        if segment_start == place:
            self._boundaries.append(place)
        else:
            self._measure_step(place)
        self._count += 1
        if self._count >= self._step_due:
            self._step_m = median_step(self.positions[-_STEPS_LOOKED_AT:])
            self._step_due = round(self._count * _GROWN_BY) + 1
        if self._early is not None:
            self._early.append(descriptor)
        if self._early is not None and self._count >= self._mean_due:
            self._recompute_mean(np.stack(self._early))
        else:
            self._describe(place, descriptor[None])
        return place

    def _measure_step(self, place: int) -> None:
        """Note how the drive came from the place before."""
        before, pose = self._poses[place - 1], self._poses[place]
        way_m = distance(before, pose)
        self._steps, self._way_m = self._steps + 1, self._way_m + way_m
        if way_m > 0:
            self._turns[place] = turn_between(before, pose) / way_m
            self._turned |= bool(abs(self._turns[place]) > LEAST_TURN)

    def _recompute_mean(self, descriptors: np.ndarray) -> None:
        """Recompute all descriptors with the mean of all places so far."""
        released = self.released
        self._mean = descriptors.mean(axis=0)
        self._mean_due = min(round(self._count * _GROWN_BY) + 1, SETTLED)
        if self._count == SETTLED:
            self._early = None
        self._waiting.clear()
        self.index = GrowingIndex(self._sequence_dim)
        self._describe(0, descriptors)
        self.release(released)

    def _describe(self, first: int, descriptors: np.ndarray) -> None:
        """Fill in the newest places, and the sequences that end at them."""
        frames = self._model.prepare(descriptors, self._mean)
        self._frames[first: self._count] = frames
        if self._projected is not None:
            assert self._model.projection is not None
            self._projected[first: self._count] = describe_frames(self._model.projection, frames)
        windows = np.stack([self._window_of(place) for place in range(first, self._count)])
        sequences = aggregate(self._model.aggregator, self._frames, windows)
        self._waiting.extend(sequences)
        self._newest = sequences[-1]

    def _window_of(self, place: int) -> np.ndarray:
        return np.maximum(np.arange(place - self._length + 1, place + 1), self._starts[place])

    def window(self, place: int) -> np.ndarray:
        """Return the frames of the sequence that ends at a place, float32 ``[L, D]``."""
        return self._frames[self._window_of(place)]

    def projected_window(self, place: int) -> np.ndarray | None:
        """Return the same frames as the model's projection describes them; None without one."""
        return None if self._projected is None else self._projected[self._window_of(place)]

    def newest_sequence(self) -> np.ndarray:
        """Return the descriptor of the sequence that ends at the newest place, ``[D']``."""
        return self._newest

    def release(self, count: int) -> None:
        """Make the first ``count`` places searchable from now on."""
        while self.released < count:
            self.index.add(self._waiting.popleft()[None])


def _reserve(rows: int, dim: int) -> np.ndarray:
    """Return float32 ``[rows, dim]`` that takes no memory until it is written."""
    memory = mmap.mmap(-1, 4 * rows * dim,
                       flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    return np.frombuffer(memory, dtype=np.float32).reshape(rows, dim)
