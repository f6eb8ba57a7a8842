"""Aligning a drive with a map: the transform between their frames, and what bends the drive."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.core.poses import pose_from_matrix, pose_matrix, travelled_distance
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.sessions.pose_graph import Drive, Sightings, refine, solve
from seqnet_ros.sessions.session_matches import SessionMatches, find_matches

_FEWEST = 10
"""Matches without which there is nothing to compare."""
_NEAR_M = 5.0
_TURNED = np.deg2rad(30.0)
_MOST_COMPARED = 1000
_GAP_M = 10.0
"""Between two matches this far apart the drive counts as found."""
_MOST_SCALES = 5
_SCALE_KNOWN = 2e-4
"""A decimeter in 500 m."""


@dataclass(frozen=True)
class Alignment:
    """A drive in the frame of a map.

    Attributes:
        drive: what the drive knows of itself, in the frame of its odometry.
        poses: float64 ``[N, 7]``, of all keyframes, in the frame of the map, meters.
        transform: ``[7]``, the frame of the drive in that of the map, as of the first keyframe that
            was found on the map.
        matches: where keyframes were found on the map; poses by looks are moved by the offset of
            the drive from the line of the map.
        kept: which of these matches agree with the others, bool ``[M]``.
        residuals_m: how far from the aligned drive each match is along and across its route,
            float64 ``[M, 2]``, meters.
        overlap_m: distance along which the drive was found on the map.
        route_m: length of the drive, by its odometry.
        scale: its length on the map as a share of that, where it was found.
        bend_m: largest distance of a pose from where the rigid transform has it.
        offsets_m: where the line of the map is for the robot, by each match: ahead, to the left and
            above, float64 ``[M, 3]``, meters; zero for poses that were measured.
    """

    drive: Drive
    poses: np.ndarray
    transform: np.ndarray
    matches: SessionMatches
    kept: np.ndarray
    residuals_m: np.ndarray
    overlap_m: float
    route_m: float
    scale: float
    bend_m: float
    offsets_m: np.ndarray

    def __str__(self) -> str:
        """Return how well the drive and the map agree."""
        along, across = self.rms_m()
        return (f'{int(self.kept.sum())} of {len(self.kept)} matches agree, along '
                f'{self.overlap_m:.0f} of {self.route_m:.0f} m; RMS {along:.2f} m along and '
                f'{across:.2f} m across the route')

    @property
    def left_m(self) -> float:
        """How far to the left of the line of the map it goes, by its matches by looks."""
        by_looks = self.offsets_m[~self.matches.measured]
        return -float(np.median(by_looks[:, 1])) if len(by_looks) else 0.0

    def rms_m(self) -> tuple[float, float]:
        """Return the root mean square of the residuals of kept matches, along and across."""
        along, across = np.sqrt((self.residuals_m[self.kept] ** 2).mean(axis=0)).tolist()
        return along, across


def align(place_map: PlaceMap, session: Mapper, config: AlignmentConfig | None = None,
          progress: Callable[[int], None] = lambda done: None) -> Alignment:
    """Bring a drive into the frame of a map, by where it is found on the map.

    The map stays as it is. The drive is bent where its odometry drifts.

    Args:
        place_map: the map.
        session: the drive.
        config: the settings.
        progress: called with the number of keyframes that were looked for.

    Raises:
        SessionAlignmentError: the drive is not found on the map, or along too short a distance, or
            the matches contradict one another.
        InputError: one of them has no poses, or GTSAM is not installed.
    """
    config = config or AlignmentConfig()
    if not session.posed or not place_map.manifest.has_poses:
        without = 'drive' if place_map.manifest.has_poses else 'map'
        raise SessionAlignmentError(f'the {without} has no poses, expected odometry: sessions are '
                                    'aligned by their matches and their odometry')
    drive = _drive_of(session, config)
    matches = find_matches(place_map, session, progress)
    if len(matches) < _FEWEST:
        raise SessionAlignmentError(
            f'{len(matches)} of {len(session)} keyframes were found on the map, expected at least '
            f'{_FEWEST}: the drive shows other places, or in other light than the model tolerates')
    agreeing = consensus(drive.poses, matches, config.drift)
    sightings = Sightings(
        matches.keyframes, np.full(len(matches), -1),
        np.where(matches.measured, -1, place_map.segment_starts[matches.places]), matches.poses,
        matches.deviations)
    solution = solve([drive], _carried(drive.poses, matches, agreeing), sightings)
    kept = solution.kept
    poses, offsets = refined([drive], solution.poses, replace(
        sightings, deviations=matches.beside_the_line())[kept])
    beside = np.array([offsets.get(line, np.zeros(3)) for line in sightings.lines.tolist()])
    return judge(drive, poses, matches.moved(-beside), kept, beside, config)


def refined(drives: Sequence[Drive], initial: np.ndarray,
            sightings: Sightings) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Return poses and offsets as `refine` does, with odometry of the right scale."""
    poses, scales = initial, _scales(drives, initial, sightings)
    for _ in range(_MOST_SCALES):
        poses, offsets = refine([drive.scaled(scale) for drive, scale in zip(
            drives, scales.tolist(), strict=True)], poses, sightings)
        before, scales = scales, _scales(drives, poses, sightings)
        if np.abs(scales - before).max() < _SCALE_KNOWN:
            break
    return poses, offsets


def _scales(drives: Sequence[Drive], poses: np.ndarray, sightings: Sightings) -> np.ndarray:
    """Return the length of each drive with these poses as a share of that by its odometry."""
    scales, first = [], 0
    for drive in drives:
        own = slice(first, first + len(drive.poses))
        found = sightings.keyframes[
            (sightings.keyframes >= own.start) & (sightings.keyframes < own.stop)]
        scales.append(length_ratio(drive.poses, poses[own], drive.linked, found - first))
        first = own.stop
    return np.array(scales)


def judge(drive: Drive, poses: np.ndarray, matches: SessionMatches, kept: np.ndarray,
          offsets_m: np.ndarray, config: AlignmentConfig) -> Alignment:
    """Return an alignment, if there is enough that agrees.

    Args:
        drive: the drive.
        poses: its poses in the frame of the map, ``[N, 7]``.
        matches: where it was found.
        kept: which of these agree, bool ``[M]``.
        offsets_m: as in `Alignment`.
        config: the settings.

    Raises:
        SessionAlignmentError: too few of the matches agree, or along too short a distance.
    """
    odometry = drive.poses
    found = matches.keyframes[kept]
    overlap_m, share = covered(odometry, found), float(kept.mean())
    if overlap_m < config.min_overlap_m or share < config.min_agreement:
        raise SessionAlignmentError(
            f'the drive and the map agree too little: {int(kept.sum())} of {len(matches)} matches '
            f'({share:.0%}) agree, along {overlap_m:.0f} m; expected at least '
            f'{config.min_agreement:.0%}, along {config.min_overlap_m:g} m')
    first = int(found[0])
    transform = pose_matrix(poses[first]) @ np.linalg.inv(pose_matrix(odometry[first]))
    rigid = odometry[:, :3] @ transform[:3, :3].T + transform[:3, 3]
    return Alignment(
        drive, poses, pose_from_matrix(transform), matches, kept,
        _residuals(poses[matches.keyframes], matches.poses), overlap_m,
        travelled_distance(odometry), length_ratio(odometry, poses, drive.linked, found),
        float(np.linalg.norm(rigid - poses[:, :3], axis=1).max()), offsets_m)


def consensus(odometry: np.ndarray, matches: SessionMatches, drift: float) -> np.ndarray:
    """Return which matches agree with the one that most others agree with, bool ``[M]``.

    Two matches agree if odometry leads from the one to the other, up to its drift on the way.

    Args:
        odometry: poses ``[N, 7]`` of the drive.
        matches: the matches.
        drift: error of odometry, as a share of the distance.
    """
    way = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(odometry[:, :3], axis=0), axis=1)))
    way = way[matches.keyframes]
    own, found = odometry[matches.keyframes], matches.poses
    turn = _yaws(found) - _yaws(own)
    chosen = np.unique(np.linspace(0, len(matches) - 1, _MOST_COMPARED).astype(int))
    best = np.zeros(len(matches), dtype=bool)
    for number in chosen.tolist():
        cosine, sine = np.cos(turn[number]), np.sin(turn[number])
        ahead = own[:, :2] - own[number, :2]
        expected = found[number, :2] + np.stack(
            [cosine * ahead[:, 0] - sine * ahead[:, 1],
             sine * ahead[:, 0] + cosine * ahead[:, 1]], axis=1)
        apart = np.linalg.norm(expected - found[:, :2], axis=1)
        turned = np.abs(np.remainder(turn - turn[number] + np.pi, 2 * np.pi) - np.pi)
        # A small error of the heading at the start leads far off in the end.
        reach = _NEAR_M + 4 * drift * np.abs(way - way[number])
        agrees = (apart <= reach) & (turned <= _TURNED)
        if agrees.sum() > best.sum():
            best = agrees
    return best


def length_ratio(odometry: np.ndarray, aligned: np.ndarray, linked: np.ndarray,
                 keyframes: np.ndarray) -> float:
    """Return how long a drive is on the map, as a share of its length by odometry.

    Most of the drift of wheels is that they are larger or smaller than believed. Before the drive
    is found, and after it is lost, its odometry is then right once its scale is.

    Args:
        odometry: poses ``[N, 7]``.
        aligned: poses ``[N, 7]`` on the map.
        linked: whether odometry goes on from each pose to the next, bool ``[N - 1]``.
        keyframes: where the drive was found, ascending; 1 without any.
    """
    if not len(keyframes):
        return 1.0
    between = slice(int(keyframes[0]), int(keyframes[-1]))
    before, after = (np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)[between][linked[between]]
                     for poses in (odometry, aligned))
    return float(after.sum() / before.sum()) if before.sum() > 0 else 1.0


def covered(odometry: np.ndarray, keyframes: np.ndarray) -> float:
    """Return the distance along which some keyframes of a drive follow one another, meters."""
    steps = np.linalg.norm(np.diff(odometry[:, :3], axis=0), axis=1)
    way = np.append(0.0, np.cumsum(steps))[keyframes]
    between = np.diff(way)
    return float(between[between <= _GAP_M].sum())


def _drive_of(session: Mapper, config: AlignmentConfig) -> Drive:
    places = [session[number] for number in range(len(session))]
    starts = np.array([place.segment_start for place in places])
    return Drive(np.array([place.pose for place in places]), starts[1:] == starts[:-1],
                 config.drift)


def _carried(odometry: np.ndarray, matches: SessionMatches, agreeing: np.ndarray) -> np.ndarray:
    """Return each pose as odometry carries it from the nearest agreeing match, ``[N, 7]``."""
    known, found = matches.keyframes[agreeing], matches.poses[agreeing]
    nearest = np.rint(np.interp(np.arange(len(odometry)), known, np.arange(len(known)))).astype(int)
    turn = Rotation.from_euler('z', (_yaws(found) - _yaws(odometry[known]))[nearest, None])
    positions = turn.apply(odometry[:, :3] - odometry[known[nearest], :3]) + found[nearest, :3]
    return np.hstack([positions, (turn * Rotation.from_quat(odometry[:, 3:])).as_quat()])


def _residuals(poses: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return how far poses are ahead and to the left of where they were found, ``[M, 2]``."""
    apart = poses[:, :2] - found[:, :2]
    yaw = _yaws(found)
    return np.stack([np.cos(yaw) * apart[:, 0] + np.sin(yaw) * apart[:, 1],
                     np.cos(yaw) * apart[:, 1] - np.sin(yaw) * apart[:, 0]], axis=1)


def _yaws(poses: np.ndarray) -> np.ndarray:
    """Return the rotations of poses ``[N, 7]`` about z, radians, ``[N]``."""
    qx, qy, qz, qw = poses[:, 3:].T
    return np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
