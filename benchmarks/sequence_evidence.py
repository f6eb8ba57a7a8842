"""What trained sequence descriptors add to the place filter, for `benchmarks.seqnet_training`."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from seqnet_ros.config.engine import FilterConfig
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.maps.states import frame_distances
from seqnet_ros.place_filter.place_filter import PlaceFilter, Step
from seqnet_ros.place_filter.state_space import StateSpace
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.windows import trailing_windows

SHARES = (0.0, 0.3, 0.6, 1.0)
_ACCEPTED = 0.99
_BIAS = -0.5
_MOST_STEPS = 3


@dataclass(frozen=True)
class Followed:
    """How a drive was followed.

    Attributes:
        queries: number of its frames.
        accepted: how many were accepted at the default rate.
        wrong: how many of these are off by more than the tolerance.
        recall: share of frames whose most probable place is within the tolerance.
    """

    queries: int
    accepted: int
    wrong: int
    recall: float


def follow_drives(reference: np.ndarray, query: np.ndarray, trained: nn.Module, length: int,
                  tolerance: float) -> dict[tuple[str, float], Followed]:
    """Follow a drive frame by frame, and one that skips up to two frames at every step.

    Args:
        reference: frame descriptors of the map, ``[N, D]``, as the network was trained on.
        query: those of a drive, ``[N, D]``; frame i shows place i.
        trained: the sequence aggregator.
        length: frames per sequence.
        tolerance: of a correct place, frames.

    Returns:
        Results by drive and share of the sequences in the evidence.
    """
    steps = np.cumsum(np.random.default_rng(1).integers(1, _MOST_STEPS + 1, len(query)))
    drives = {'frame by frame': np.arange(len(query)),
              f'1 to {_MOST_STEPS} frames a step': steps[steps < len(query)]}
    places = _centred(reference), _sequences(reference, trained, length)
    found = {}
    for name, rows in drives.items():
        seen = _centred(query)[rows], _sequences(query[rows], trained, length)
        for share in SHARES:
            found[name, share] = _follow(places, seen, rows, share, tolerance)
    return found


def _follow(places: tuple[np.ndarray, np.ndarray], seen: tuple[np.ndarray, np.ndarray],
            truth: np.ndarray, share: float, tolerance: float) -> Followed:
    count = len(places[0])
    origin = np.tile([0.0, 0, 0, 0, 0, 0, 1], (count, 1))
    space = StateSpace((0, count), np.zeros(count, dtype=np.int64), origin, (0.0,), (False,))
    place_filter = PlaceFilter(space, FilterConfig(sequence_share=share), biases=[_BIAS])
    right, accepted = np.zeros(len(truth), dtype=bool), np.zeros(len(truth), dtype=bool)
    for number, place in enumerate(truth.tolist()):
        place_filter.predict(Step())
        frames, sequences = (frame_distances(stored, described[number])
                             for stored, described in zip(places, seen, strict=True))
        place_filter.update(frames, of_sequences=sequences)
        best = place_filter.hypotheses(1)
        if best:
            right[number] = abs(best[0].state - place) <= tolerance
            accepted[number] = best[0].probability >= _ACCEPTED
    return Followed(len(truth), int(accepted.sum()), int((accepted & ~right).sum()),
                    float(right.mean()))


def _centred(frames: np.ndarray) -> np.ndarray:
    return normalize_rows(frames - frames.mean(axis=0))


def _sequences(frames: np.ndarray, trained: nn.Module, length: int) -> np.ndarray:
    windows = trailing_windows(np.zeros(len(frames), dtype=np.int64), length)
    return normalize_rows(aggregate(trained, frames, windows))
