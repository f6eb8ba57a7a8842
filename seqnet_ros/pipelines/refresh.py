"""Refresh a map by a later drive: add views that it lacks, and retire those that do not match.

A view is a stretch of places. The drive is aligned with the map; where it was found, each of its
keyframes is compared with the places of every view there. How far the best of them stands out among
all places of the map says whether the map knows the street as it looks now.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.spatial import cKDTree

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.config.upkeep import UpkeepConfig
from seqnet_ros.core.poses import same_heading
from seqnet_ros.maps.builder import extend_map, select_places
from seqnet_ros.maps.calibration import calibrate
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.states import distinct_places, frame_distances
from seqnet_ros.maps.views import View, views_of
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.place_filter.evidence import standardize
from seqnet_ros.sessions.alignment import Alignment, align

_REACH_M = 5.0
"""A robot in another lane still shows the place."""
_GAP_M = 60.0
"""Between two matches this far apart, the way by odometry is certain to a meter."""
_BEST_SHARE = 0.2
"""A view matches if it is the best one for this share of the keyframes that pass it."""
_PASSED_SHARE = 0.5
_MATCHES = 1.5
"""How far a place of it must stand out then: 97.5 % of wrong places are below 1, and there are some
twenty places near a keyframe."""
_SAMPLED = 4096
"""Places of a large map that stand for all in how near wrong places are."""
_LAP_M = 20.0
"""A street that is passed again after this distance at least is passed a second time."""
_REFRESHED = ', last refreshed by '


@dataclass(frozen=True)
class Refreshed:
    """A refreshed map, and what changed.

    Attributes:
        place_map: the map.
        before: the map as it was.
        alignment: how the drive was aligned.
        certain_m: distance along which the drive was certain to be on the map.
        added: the new views, numbered as in the map.
        retired: the views that are gone, numbered as in the map before.
        matched: views that the drive matched best somewhere.
        passed: views that it passed without that.
    """

    place_map: PlaceMap
    before: PlaceMap
    alignment: Alignment
    certain_m: float
    added: tuple[View, ...]
    retired: tuple[View, ...]
    matched: int
    passed: int

    def __str__(self) -> str:
        """Return what changed."""
        added = sum(view_length(self.place_map, view) for view in self.added)
        retired = sum(view_length(self.before, view) for view in self.retired)
        return (f'{self.matched} views matched, {self.passed} passed without a match, '
                f'{len(self.added)} added ({added:.0f} m), {len(self.retired)} retired '
                f'({retired:.0f} m); {len(self.place_map)} places, before {len(self.before)}')


def view_length(place_map: PlaceMap, view: View) -> float:
    """Return the distance along a view of a map, meters."""
    steps = np.diff(place_map.positions[view.first:view.end], axis=0)
    return float(np.linalg.norm(steps, axis=1).sum())


@dataclass(frozen=True)
class _Seen:
    """What a drive says of the places of a map.

    Attributes:
        certain: keyframes that are certain to be on the map, bool ``[K]``.
        deviations: how far the best place near each keyframe stands out, ``[K]``; not a number
            where none is near.
        best: that place, int ``[K]``; -1 for none.
        passed: places that some keyframe was near, bool ``[N]``.
    """

    certain: np.ndarray
    deviations: np.ndarray
    best: np.ndarray
    passed: np.ndarray


def refresh_map(place_map: PlaceMap, drive: Mapper, source: str, pose_origin: str,
                config: UpkeepConfig | None = None, alignment: AlignmentConfig | None = None,
                bars: Bars = no_bar) -> Refreshed:
    """Refresh a map by a drive along it.

    Args:
        place_map: the map, with poses.
        drive: the keyframes of the drive, with odometry.
        source: name of the drive.
        pose_origin: where its poses come from.
        config: what is added and retired.
        alignment: how the drive is aligned.
        bars: shows progress.

    Raises:
        SessionAlignmentError: the drive is not found on the map; nothing changes.
        InputError: GTSAM is not installed, or the drive does not fit the map.
    """
    config = config or UpkeepConfig()
    with bars('aligning', len(drive)) as progress:
        aligned = align(place_map, drive, alignment, progress)
    session = drive.finish(source, pose_origin, poses=aligned.poses, alone=True)
    seen = _compare(place_map, session, aligned)
    stretch = max(2, round(config.stretch_m / (place_map.step_m or 1.0)))
    views = views_of(place_map.manifest.views, place_map.segment_starts, stretch)
    judged = _judge(views, seen, int(session.stamps_ns[-1]))
    lacking = np.flatnonzero(_lacking(session, seen, config))
    news = select_places(session, lacking, drive.model) if len(lacking) else None
    stays = _staying(place_map, judged, news, seen, config)
    refreshed = _with_views(place_map, judged)
    if not stays.all():
        refreshed = select_places(refreshed, np.flatnonzero(stays), drive.model)
    added: tuple[View, ...] = ()
    if news is not None:
        known = refreshed.manifest.views
        refreshed = extend_map(refreshed, news)
        added = views_of(known, refreshed.segment_starts, stretch)[len(known):]
        refreshed = _with_views(refreshed, (*known, *added))
    with bars('calibrating', 1):
        refreshed = _calibrated(_described(refreshed, place_map, source), drive)
    pairs = list(zip(views, judged, strict=True))
    return Refreshed(
        refreshed, place_map, aligned, _length(session.positions, seen.certain), added,
        tuple(view for view in judged if not stays[view.first]),
        sum(after.matched > before.matched for before, after in pairs),
        sum(after.passed > before.passed for before, after in pairs))


def _compare(place_map: PlaceMap, session: PlaceMap, aligned: Alignment) -> _Seen:
    """Compare each keyframe of an aligned drive with the places near it."""
    way = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(aligned.poses[:, :3], axis=0), axis=1)))
    certain = _between(way, aligned.matches.keyframes[aligned.kept])
    near = cKDTree(place_map.positions).query_ball_point(aligned.poses[:, :3], _REACH_M)
    deviations = np.full(len(session), np.nan)
    best = np.full(len(session), -1)
    passed = np.zeros(len(place_map), dtype=bool)
    frames, wrong = place_map.matching_frames, distinct_places(place_map)
    wrong_frames = frames[wrong[::max(1, len(wrong) // _SAMPLED)]]
    for number in np.flatnonzero(certain).tolist():
        places = np.array(near[number], dtype=int)
        places = places[same_heading(place_map.poses[places, 3:], aligned.poses[number, 3:])]
        if not len(places):
            continue
        frame = session.matching_frames[number]
        distances = [frame_distances(some, frame) for some in (wrong_frames, frames[places])]
        standing_out = standardize(np.concatenate(distances), slice(len(wrong_frames)))[
            len(wrong_frames):]
        best[number] = places[standing_out.argmax()]
        deviations[number] = standing_out.max()
        passed[places] = True
    return _Seen(certain & (best >= 0), deviations, best, passed)


def _between(way: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return which keyframes are between two matches that are not far apart, bool ``[K]``."""
    between = np.zeros(len(way), dtype=bool)
    for first, last in pairwise(found):
        if way[last] - way[first] <= _GAP_M:
            between[first:last + 1] = True
    return between


def _judge(views: Sequence[View], seen: _Seen, now_ns: int) -> tuple[View, ...]:
    """Return the views with what the drive says of each."""
    judged = []
    best = seen.best[seen.certain]
    good = best[seen.deviations[seen.certain] >= _MATCHES]
    for view in views:
        places = slice(view.first, view.end)
        won = ((good >= view.first) & (good < view.end)).sum()
        if won >= _BEST_SHARE * max(seen.passed[places].sum(), 1):
            view = view.model_copy(update={
                'matched': view.matched + 1, 'passed': 0, 'matched_ns': max(now_ns, 0)})
        elif seen.passed[places].mean() >= _PASSED_SHARE:
            view = view.model_copy(update={'passed': view.passed + 1})
        judged.append(view)
    return tuple(judged)


def _lacking(session: PlaceMap, seen: _Seen, config: UpkeepConfig) -> np.ndarray:
    """Return the keyframes to add, bool ``[K]``: where the known views stand out too little.

    A single frame says little; the median of those half a stretch before and behind it counts. Of
    a street that the drive passes several times one view is added.
    """
    lacking = np.zeros(len(session), dtype=bool)
    half = max(1, round(config.stretch_m / (session.step_m or 1.0) / 2))
    known = np.where(seen.certain, seen.deviations, np.nan)
    for first, end in _ways(session.segment_starts):
        around = sliding_window_view(np.pad(
            known[first:end], half, constant_values=np.nan), 2 * half + 1)
        compared = seen.certain[first:end]  # so no window is without a value
        typical = np.nanmedian(around[compared], axis=1)
        lacking[first:end][compared] = typical < config.enough
    lacking[_passed_again(session, np.flatnonzero(lacking))] = False
    return lacking


def _passed_again(session: PlaceMap, numbers: np.ndarray) -> np.ndarray:
    """Return those of some keyframes that show what earlier ones of them show, int ``[K]``."""
    steps = np.linalg.norm(np.diff(session.positions, axis=0), axis=1)
    way, rotations = np.append(0.0, np.cumsum(steps))[numbers], session.poses[numbers, 3:]
    pairs = cKDTree(session.positions[numbers]).query_pairs(_REACH_M, output_type='ndarray')
    first, second = np.sort(pairs, axis=1).T
    again = (way[second] - way[first] >= _LAP_M) & same_heading(rotations[first], rotations[second])
    return np.unique(numbers[second[again]])


def _ways(starts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the first keyframe of each unbroken way, and one past its last."""
    yield from pairwise([*np.unique(starts).tolist(), len(starts)])


def _staying(place_map: PlaceMap, views: Sequence[View], added: PlaceMap | None, seen: _Seen,
             config: UpkeepConfig) -> np.ndarray:
    """Return which places stay, bool ``[N]``: all of a view or none."""
    positions, rotations = place_map.positions, place_map.poses[:, 3:]
    if added is not None:
        positions = np.concatenate([positions, added.positions])
        rotations = np.concatenate([rotations, added.poses[:, 3:]])
    stays = np.ones(len(positions), dtype=bool)
    tree = cKDTree(positions)
    usual = 2 * _REACH_M / (place_map.step_m or 1.0)

    def crowd(view: View) -> float:
        """Return how many views there are at a view, itself among them, the median."""
        near = tree.query_ball_point(positions[view.first:view.end], _REACH_M)
        places = np.concatenate(near).astype(int)
        of = np.repeat(np.arange(len(view)), [len(some) for some in near])
        counted = stays[places] & same_heading(rotations[places], rotations[view.first + of])
        return float(np.median(np.bincount(of[counted], minlength=len(view)))) / usual

    # Those that are retired first: long not matched, then seldom matched, then old.
    for view in sorted(views, key=lambda one: (-one.passed, one.matched, one.matched_ns)):
        if not seen.passed[view.first:view.end].any():
            continue
        there = crowd(view)
        outdated = view.passed >= config.retire_after and there >= 1.5
        if outdated or there > config.most_views + 0.5:
            stays[view.first:view.end] = False
    return stays[:len(place_map)]


def _with_views(place_map: PlaceMap, views: Sequence[View]) -> PlaceMap:
    manifest = place_map.manifest.model_copy(update={'views': tuple(views)})
    return replace(place_map, manifest=manifest)


def _described(place_map: PlaceMap, before: PlaceMap, source: str) -> PlaceMap:
    """Return the map as the one that it was, refreshed by a drive; names do not pile up."""
    first = before.manifest.source.split(_REFRESHED)[0]
    manifest = place_map.manifest.model_copy(update={
        'source': f'{first}{_REFRESHED}{source}', 'completeness': before.manifest.completeness})
    return replace(place_map, manifest=manifest)


def _calibrated(place_map: PlaceMap, drive: Mapper) -> PlaceMap:
    """Return the map with the calibrations that its settings need."""
    engine = place_map.manifest.engine
    place_map = place_map.with_filter_calibration(calibrate_filter(place_map, engine.filter))
    return place_map.with_calibration(calibrate(drive.model, place_map, engine.matching))


def _length(positions: np.ndarray, chosen: np.ndarray) -> float:
    """Return the distance between successive keyframes of which both are chosen, meters."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return float(steps[chosen[1:] & chosen[:-1]].sum())
