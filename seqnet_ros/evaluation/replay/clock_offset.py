"""Offset between two clocks, from the motion recorded with both.

A camera and a positioning system on the same robot start, stop and turn together. Their speeds and
turn rates are compared at every shift of time within a range; where they agree best is the offset.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from seqnet_ros.core.poses import Trajectory, yaw_of
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk, image_reader
from seqnet_ros.datasets.recordings.frames import Frame

RANGE_S = 10.0
_STEP_S = 0.05
_SMOOTH_S = 0.5
_LEAST_OVERLAP_S = 10.0
_LEAST_CORRELATION = 0.5
_LEAST_LEAD = 0.02
_RIVAL_S = 2.0
_WIDTH, _HEIGHT = 96, 72


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion over time.

    Attributes:
        seconds: float64 ``[N]``, ascending.
        speed: float64 ``[N]``, in any unit.
        turn: float64 ``[N]``, to the left, in any unit.
        origin: human-readable source of the motion.
    """

    seconds: np.ndarray
    speed: np.ndarray
    turn: np.ndarray
    origin: str


@dataclass(frozen=True)
class ClockOffset:
    """Offset to add to the first clock to get the second.

    Attributes:
        seconds: the offset.
        correlation: of the two motions at this offset, at most 1.
        certain: whether it is clearly better than every other offset.
        compared: the two sources, human-readable.
    """

    seconds: float
    correlation: float
    certain: bool
    compared: tuple[str, str]


def motion_of_poses(trajectory: Trajectory) -> Motion:
    """Return speed (m/s) and turn rate (rad/s) between the poses of a trajectory."""
    stamps, first = np.unique(trajectory.stamps_ns, return_index=True)
    seconds, poses = stamps / 1e9, trajectory.poses[first]
    steps = np.diff(seconds)
    speed = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1) / steps
    turn = np.diff(np.unwrap([yaw_of(pose) for pose in poses])) / steps
    return Motion((seconds[1:] + seconds[:-1]) / 2, speed, turn, trajectory.origin)


def motion_of_images(frames: Iterable[Frame], origin: str) -> Motion:
    """Estimate motion from images: how much they change, and how far they shift sideways.

    Damaged images are skipped.
    """
    seconds, speed, turn = [], [], []
    before: tuple[int, np.ndarray] | None = None
    window = cv2.createHanningWindow((_WIDTH, _HEIGHT), cv2.CV_32F)
    for frame, image in FrameWalk(frames).results(lambda frame: image_reader(frame)()):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
        now = np.asarray(small, dtype=np.float32)
        if before is not None and frame.stamp_ns > before[0]:
            step = (frame.stamp_ns - before[0]) / 1e9
            (sideways, _), _ = cv2.phaseCorrelate(before[1], now, window)
            seconds.append((frame.stamp_ns + before[0]) / 2e9)
            speed.append(float(np.abs(now - before[1]).mean()) / step)
            # What is seen moves to the right when the camera turns to the left.
            turn.append(sideways / step)
        before = frame.stamp_ns, now
    return Motion(np.array(seconds), np.array(speed), np.array(turn), origin)


def estimate_offset(first: Motion, second: Motion, range_s: float = RANGE_S) -> ClockOffset | None:
    """Find the offset at which two motions agree best.

    Args:
        first: one motion.
        second: the other one, at almost the same time.
        range_s: largest offset looked for.

    Returns:
        None where one of them does not vary, or they have too little time in common.
    """
    if min(len(first.seconds), len(second.seconds)) < 3:
        return None
    begin = min(first.seconds[0], second.seconds[0])
    end = max(first.seconds[-1], second.seconds[-1])
    grid = np.arange(begin, end + _STEP_S, _STEP_S)
    signals = _signals(first, grid), _signals(second, grid)
    shifts = np.arange(-round(range_s / _STEP_S), round(range_s / _STEP_S) + 1)
    by_signal = np.array([_agreement(*signals, int(shift)) for shift in shifts])
    if not np.isfinite(by_signal).any():
        return None
    # Turns show in images whatever there is to see; speed does in starts and stops only.
    agreement = by_signal[:, int(np.argmax(np.nanmax(
        np.where(np.isfinite(by_signal), by_signal, -1.0), axis=0)))]
    best = int(np.nanargmax(agreement))
    seconds = _STEP_S * (shifts[best] + _peak(agreement, best))
    others = agreement[np.abs(shifts - shifts[best]) * _STEP_S > _RIVAL_S]
    rival = np.nanmax(others) if np.isfinite(others).any() else -1.0
    at_the_edge = best in (0, len(shifts) - 1)
    certain = (agreement[best] >= _LEAST_CORRELATION and not at_the_edge
               and agreement[best] - rival >= _LEAST_LEAD)
    return ClockOffset(round(float(seconds), 3), round(float(agreement[best]), 3), bool(certain),
                       (first.origin, second.origin))


def _signals(motion: Motion, grid: np.ndarray) -> np.ndarray:
    """Return speed and turn rate, smoothed, on a grid of times ``[2, T]``; NaN outside."""
    width = max(1, round(_SMOOTH_S / _STEP_S))
    inside = (grid >= motion.seconds[0]) & (grid <= motion.seconds[-1])
    signals = np.full((2, len(grid)), np.nan)
    for row, values in enumerate((motion.speed, motion.turn)):
        dense = np.interp(grid[inside], motion.seconds, values)
        weights = np.convolve(np.ones(len(dense)), np.ones(width), 'same')
        signals[row, inside] = np.convolve(dense, np.ones(width), 'same') / weights
    return signals


def _agreement(first: np.ndarray, second: np.ndarray, shift: int) -> np.ndarray:
    """Return the correlation ``[2]`` of each signal, the second one shifted back; NaN for none."""
    length = max(first.shape[1] - abs(shift), 0)
    a = first[:, max(-shift, 0):][:, :length]
    b = second[:, max(shift, 0):][:, :length]
    common = np.isfinite(a[0]) & np.isfinite(b[0])
    if common.sum() * _STEP_S < _LEAST_OVERLAP_S:
        return np.full(2, np.nan)
    a, b = a[:, common], b[:, common]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    powers = np.sqrt((a ** 2).sum(axis=1) * (b ** 2).sum(axis=1))
    return np.where(powers > 1e-9, (a * b).sum(axis=1) / np.maximum(powers, 1e-9), np.nan)


def _peak(values: np.ndarray, best: int) -> float:
    """Return where between its neighbors a maximum lies, by a parabola; -0.5 to 0.5."""
    if best in (0, len(values) - 1):
        return 0.0
    left, middle, right = values[best - 1: best + 2]
    bend = left - 2 * middle + right
    return float((left - right) / (2 * bend)) if np.isfinite(bend) and bend < 0 else 0.0
