"""Find settings on one pair of drives and see on another whether they are better there, too.

The search goes through one setting after the other, keeps the best value of each, and begins again
until nothing gets better (coordinate descent). Frames are described once; what a trial costs is
searching.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.datasets.recordings.frame_walk import warn_damaged
from seqnet_ros.datasets.recordings.open_recording import PosedSource
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.query_ground_truth import QueryGroundTruth
from seqnet_ros.evaluation.replay.recordings import Recordings
from seqnet_ros.evaluation.replay.reference_map import ReferenceMap, map_recordings
from seqnet_ros.evaluation.replay.replay import engine_for, replay

_logger = logging.getLogger(__name__)

PRECISION = 0.99
_SPEEDS = ((0.9, 1.1), (0.8, 1.25), (0.6, 1.6))
SPEEDS = 'matching.speeds'
"""Stands for the slowest and the fastest speed together."""

Settings = dict[str, Any]


def usual_search(posed: bool, method: str) -> dict[str, tuple[Any, ...]]:
    """Return the values that are tried, by dotted name.

    Args:
        posed: whether images have poses, which decides the unit of the spacing.
        method: `LocalizationConfig.method`; other settings have an effect on each.
    """
    spacing = {'keyframes.every': ('0.5m', '1m', '2m') if posed else ('1', '2', '3')}
    rate = {'acceptance.false_positive_rate': (0.001, 0.003, 0.01, 0.03, 0.1)}
    if method == 'filter':
        return {
            **spacing,
            'filter.evidence': (0.5, 0.7, 1.0, 1.4, 2.0),
            'filter.leave': (0.001, 0.003, 0.01, 0.03),
            'filter.background_frames': (20.0, 40.0, 80.0),
            **rate}
    return {
        'sequence.length': (3, 5, 10, 15, 20), **spacing, 'matching.top_k': (10, 20, 50),
        SPEEDS: _SPEEDS, **rate}


@dataclass(frozen=True, eq=False)
class DrivePair:
    """A drive to map, one to find in it, and what is true."""

    maps: Recordings
    queries: Recordings
    tolerance: Tolerance
    pairs: Path | None = None

    @property
    def posed(self) -> bool:
        """Whether images of the map have poses, so that they can be spaced in meters."""
        return isinstance(self.maps.sources[0], PosedSource)


@dataclass(frozen=True)
class Trial:
    """Settings and what they led to.

    Attributes:
        settings: by dotted name.
        metrics: None where the settings cannot be used.
        problem: why not.
    """

    settings: Settings
    metrics: LocalizationMetrics | None
    problem: str = ''

    def worth(self, precision: float = PRECISION) -> tuple[float, ...]:
        """Return the sort key, higher is better: first precision up to the required one."""
        if self.metrics is None:
            return (-1.0,)
        reached = self.metrics.accepted.precision
        localized = self.metrics.route.localized or 0.0
        recall = self.metrics.recall[1] or 0.0
        return (min(1.0 if reached is None else reached, precision), localized, recall)


class Tuner:
    """Tries settings on a pair of drives; the same settings are tried once.

    Args:
        described: the model.
        base: the model with the settings that are changed.
        pair: the drives.
        camera: the calibrated camera of the drives, for the geometric check.
    """

    def __init__(self, described: DescriptorCache, base: Preset, pair: DrivePair,
                 camera: CameraModel | None = None) -> None:
        self._described, self._base, self._pair = described, base, pair
        self._camera = camera
        self._warned = False
        self._maps: dict[tuple[Any, ...], ReferenceMap] = {}
        self._tried: dict[tuple[tuple[str, Any], ...], Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        """All trials so far, in order."""
        return list(self._tried.values())

    def try_out(self, settings: Settings) -> Trial:
        """Map and find with these settings."""
        key = tuple(sorted(settings.items()))
        if key not in self._tried:
            try:
                self._tried[key] = Trial(settings, self._measure(settings))
            except SeqnetRosError as error:
                self._tried[key] = Trial(settings, None, str(error))
        return self._tried[key]

    def _measure(self, settings: Settings) -> LocalizationMetrics:
        engine = self._base.with_settings(engine_settings(settings)).engine
        mapped = self._map(engine)
        pair = self._pair
        truth = QueryGroundTruth(mapped, pair.tolerance, pair.queries, pair.maps, pair.pairs)
        localizer = engine_for(self._described.model, mapped.place_map, engine, self._camera)
        replayed = replay(self._described, localizer, pair.queries, mapped, truth,
                          lambda done: None, restarts=0)
        self._warn_once(truth.note, mapped.damaged, replayed.damaged)
        return replayed.accumulator.compute()

    def _warn_once(self, note: str, mapped: Sequence[str], replayed: Sequence[str]) -> None:
        """Warn about the drives in the first trial only; the others use the same ones."""
        if not self._warned:
            self._warned = True
            if note:
                _logger.warning('%s', note)
            warn_damaged(mapped, len(self._pair.maps))
            warn_damaged(replayed, len(self._pair.queries))

    def _map(self, engine: EngineConfig) -> ReferenceMap:
        # Threshold and the search leave the places as they are; the calibration is recomputed.
        # The local features of the places are those of the geometry settings.
        key = (repr(engine.keyframes), engine.localization.method, engine.sequence.length,
               repr(engine.geometry))
        if key not in self._maps:
            self._maps = {key: map_recordings(
                self._described, self._pair.maps, lambda done: None, engine, self._camera)}
        return self._maps[key]


def engine_settings(settings: Mapping[str, Any]) -> Settings:
    """Return settings as the engine knows them."""
    found = dict(settings)
    speeds = found.pop(SPEEDS, None)
    if speeds is not None:
        found['matching.min_speed'], found['matching.max_speed'] = speeds
    return found


def tune(tuner: Tuner, start: Settings, searched: Mapping[str, Sequence[Any]], most: int,
         precision: float = PRECISION,
         progress: Callable[[int], None] = lambda done: None) -> Trial:
    """Search the settings.

    Args:
        tuner: tries them.
        start: where to begin.
        searched: the values to try, by name.
        most: number of trials at most.
        precision: share of accepted places that must be right; beyond it, more localized route is
            better.
        progress: told how many trials were made.

    Returns:
        The best trial.
    """
    best = tuner.try_out(start)
    improved = True
    while improved:
        improved = False
        for name, values in searched.items():
            for value in _untried(values, best.settings.get(name)):
                if len(tuner.trials) >= most:
                    return best
                trial = tuner.try_out({**best.settings, name: value})
                progress(len(tuner.trials))
                if trial.worth(precision) > best.worth(precision):
                    best, improved = trial, True
    return best


def _untried(values: Iterable[Any], present: Any) -> Iterable[Any]:
    return [value for value in values if value != present]


def parameter_file(settings: Mapping[str, Any], comments: Sequence[str]) -> str:
    """Return settings as a file of parameters that the nodes load.

    Args:
        settings: as the engine knows them, by dotted name.
        comments: lines to put first.
    """
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *groups, field = name.split('.')
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[field] = value
    lines = [f'# {line}' for line in comments]
    body = yaml.safe_dump({'/**': {'ros__parameters': tree}}, sort_keys=False)
    return '\n'.join([*lines, body])
