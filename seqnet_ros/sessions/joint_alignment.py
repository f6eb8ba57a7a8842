"""Drives that were aligned one after the other, solved for together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.sessions.alignment import Alignment, judge, refined
from seqnet_ros.sessions.pose_graph import Sightings, solve


def align_together(alignments: Sequence[Alignment], first: int,
                   config: AlignmentConfig | None = None) -> list[Alignment]:
    """Find the poses of several drives that all of their matches agree with.

    A drive that is aligned with the map and with the drives before it takes these as they are. Here
    they all move, so that a later drive also corrects an earlier one. Matches are switched off
    anew: those that contradicted an earlier drive may agree with it where it is now.

    Args:
        alignments: the drives, in the order in which they were added to the map. The places of each
            follow those of the one before.
        first: number of the first place of the first drive on the map; places before it stay as
            they are.
        config: the settings.

    Raises:
        SessionAlignmentError: together, too few of the matches of a drive agree.
        InputError: GTSAM is not installed.
    """
    config = config or AlignmentConfig()
    initial = np.concatenate([alignment.poses for alignment in alignments])
    beside = _offsets(alignments, first)
    ends = np.cumsum([len(alignment.poses) for alignment in alignments])[:-1]
    links = [_links(alignment, begin, first, initial, offsets) for alignment, begin, offsets in zip(
        alignments, [0, *ends.tolist()], beside, strict=True)]
    sightings = Sightings(*(np.concatenate([getattr(link, name) for link in links]) for name in (
        'keyframes', 'seen_from', 'lines', 'poses', 'deviations')))
    solution = solve([alignment.drive.scaled(alignment.scale) for alignment in alignments],
                     initial, sightings)
    deviations = np.concatenate([alignment.matches.beside_the_line() for alignment in alignments])
    solved, _ = refined([alignment.drive for alignment in alignments], solution.poses,
                        replace(sightings, deviations=deviations)[solution.kept])
    counts = np.cumsum([len(link.keyframes) for link in links])[:-1]
    together = []
    for alignment, link, poses, kept, offsets in zip(
            alignments, links, np.split(solved, ends), np.split(solution.kept, counts), beside,
            strict=True):
        matches = replace(alignment.matches, poses=_found(link, solved))
        together.append(judge(alignment.drive, poses, matches, kept, offsets, config))
    return together


def _offsets(alignments: Sequence[Alignment], first: int) -> list[np.ndarray]:
    """Return the offsets of the matches of each drive, ``[M, 3]``, meters, as in `Alignment`.

    That of a drive from the line of another is what the offsets of both from the line of the map
    differ by: as long as the other one was taken as it is, its bends looked like an offset, too.
    """
    begins = first + np.cumsum([0, *(len(alignment.poses) for alignment in alignments)])
    of_map: list[np.ndarray | None] = []
    for alignment in alignments:
        on_map = (alignment.matches.places < first) & ~alignment.matches.measured
        of_map.append(np.median(alignment.offsets_m[on_map], axis=0) if on_map.any() else None)
    found = []
    for own, alignment in zip(of_map, alignments, strict=True):
        offsets, matches = alignment.offsets_m.copy(), alignment.matches
        for number, other in enumerate(of_map):
            of_other = ((matches.places >= begins[number]) & (matches.places < begins[number + 1])
                        & ~matches.measured)
            if own is not None and other is not None:
                offsets[of_other] = own - other
        found.append(offsets)
    return found


def _links(alignment: Alignment, begin: int, first: int, initial: np.ndarray,
           offsets_m: np.ndarray) -> Sightings:
    """Return the matches of a drive whose poses are numbered from ``begin`` on."""
    matches = alignment.matches.moved(alignment.offsets_m - offsets_m)
    seen_from = np.maximum(matches.places - first, -1)
    free = seen_from >= 0
    poses = matches.poses.copy()
    parents = initial[seen_from[free]]
    turn = Rotation.from_quat(parents[:, 3:]).inv()
    poses[free] = np.hstack([
        turn.apply(poses[free, :3] - parents[:, :3]),
        (turn * Rotation.from_quat(poses[free, 3:])).as_quat()])
    return Sightings(matches.keyframes + begin, seen_from, np.full(len(matches), -1), poses,
                     matches.deviations)


def _found(link: Sightings, solved: np.ndarray) -> np.ndarray:
    """Return the poses of matches in the frame of the map, ``[M, 7]``."""
    free = link.seen_from >= 0
    poses = link.poses.copy()
    parents = solved[link.seen_from[free]]
    turn = Rotation.from_quat(parents[:, 3:])
    poses[free] = np.hstack([
        parents[:, :3] + turn.apply(poses[free, :3]),
        (turn * Rotation.from_quat(poses[free, 3:])).as_quat()])
    return poses
