"""Pairs of drives that models are compared on: recorded ones, and a rendered town."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.recording import drifting_odometry, write_drive, write_truth
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth, matches_within
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest
from seqnet_ros.evaluation.replay.recordings import RecordingOptions, Recordings
from seqnet_ros.evaluation.replay.run_files import DESCRIPTORS
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_town import CONDITIONS, Drive, Town

_TOWN_SEED = 11  # not a town that settings were chosen on, nor that of the demo
_BLOCKS = (2, 1)
_LAP = 40
"""Images of the first lap of the corridor."""


@dataclass(frozen=True)
class DrivePair:
    """A drive to map and one to find in it.

    Attributes:
        name: short, for tables.
        maps: the drive to map.
        queries: the drive to find.
        tolerance: largest error of a correct place, in frames or meters.
        pairs: frames that show the same place; None where frame numbers or poses say it.
    """

    name: str
    maps: RecordingOptions
    queries: RecordingOptions
    tolerance: str
    pairs: Path | None = None

    def request(self, model: str, weights: Path | None) -> EvaluationRequest:
        """Return the evaluation of a model on this pair, as `seqnet_ros evaluate bags` runs it."""
        return EvaluationRequest(
            queries=self.queries, maps=self.maps, tolerance=Tolerance.parse(self.tolerance),
            pairs=self.pairs, model=model, weights=weights, device='cpu')

    def describe(self, model: PlaceModel, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """Describe every image of the map and of the queries, ``[N, D]`` and ``[M, D]``.

        Descriptors are kept in ``folder``, where an evaluation in it finds them.
        """
        cache = DescriptorCache(model, folder / DESCRIPTORS)
        try:
            return _described(self.maps, cache), _described(self.queries, cache)
        finally:
            cache.close()

    def truth(self, references: int, queries: int) -> GroundTruth:
        """Return the places that are right for each of so many queries."""
        tolerance = Tolerance.parse(self.tolerance).value
        if self.maps.truth:
            return matches_within(_positions(self.maps), _positions(self.queries), tolerance)
        line = np.arange(references, dtype=float)
        shown = np.arange(queries, dtype=float)
        if self.pairs is not None:
            table = np.loadtxt(self.pairs, delimiter=',', skiprows=header_lines(self.pairs))
            shown = np.full(queries, -1e6)  # far from everything
            # Files are numbered from 1.
            shown[table[:, 0].astype(int) - 1 - self.queries.frames[0]] = table[:, 1] - 1
        return matches_within(line[:, None], shown[:, None], tolerance)


@contextmanager
def described_by(name: str) -> Iterator[DescriptorCache]:
    """Give a model whose descriptors stay in a temporary folder while the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        cache = DescriptorCache(load_model(name, 'cpu'), Path(folder))
        try:
            yield cache
        finally:
            cache.close()


def recorded_pairs(data: Path) -> list[DrivePair]:
    """Return the recorded pairs whose folders are in ``data``."""
    gardens, corridor, railway = (
        data / name for name in ('gardens_point', 'rtabmap_loop', 'nordland_64x32'))
    pairs = [
        DrivePair('Gardens, left to right', RecordingOptions((gardens / 'day_left',)),
                  RecordingOptions((gardens / 'day_right',)), '2frames'),
        DrivePair('corridor', RecordingOptions((corridor,), frames=(0, _LAP)),
                  RecordingOptions((corridor,), frames=(_LAP, None)), '2frames',
                  corridor / 'revisit_pairs.csv'),
        DrivePair('Nordland, summer to winter', RecordingOptions((railway / 'summer',)),
                  RecordingOptions((railway / 'winter',)), '1frames')]
    return [pair for pair in pairs
            if all(path.is_dir() for path in (*pair.maps.paths, *pair.queries.paths))]


def town_pairs(folder: Path, word: str = '', seed: int = _TOWN_SEED) -> list[DrivePair]:
    """Return drives by day, at dusk and by night through one town, rendered if necessary.

    The later drives are in another lane and slower; all have odometry, theirs with drift.

    Args:
        folder: where the drives are kept.
        word: return only pairs with this in their name; no other drive is rendered.
        seed: which town.
    """
    found = {name: title for name in ('dusk', 'night') if word in (title := f'town, day to {name}')}
    drives = {}
    for number, name in enumerate(('day', 'dusk', 'night')):
        if not found or name not in ('day', *found):
            continue
        bag, truth = folder / f'{name}-{seed}', folder / f'{name}-{seed}.tum'
        later = {} if name == 'day' else {'lateral_offset': 0.8, 'speed': 6.8}
        drive = Drive(Town(seed, _BLOCKS), CONDITIONS[name], seed=number, **later)
        if not truth.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            odometry = drifting_odometry(drive.poses, number) if later else drive.poses
            write_drive(drive, odometry, bag, lambda _: None)
            write_truth(drive, truth)  # last: it tells that the bag is whole
        drives[name] = RecordingOptions((bag,), truth=(str(truth),))
    return [DrivePair(title, drives['day'], drives[name], '5m') for name, title in found.items()]


def _described(options: RecordingOptions, cache: DescriptorCache) -> np.ndarray:
    recordings = Recordings(options)
    files = cache.files(recordings)
    return np.stack([cache.model.describe(cache.reader(files, found)()) for found in recordings])


def _positions(options: RecordingOptions) -> np.ndarray:
    return np.loadtxt(options.truth[0])[:, 1:3]


def header_lines(table: Path) -> int:
    """Return how many lines of a table of pairs come before its numbers."""
    return sum(not line[:1].isdigit() for line in table.read_text().splitlines())
