"""Which images count: a robot's sequence is spaced by travel, not by camera callbacks."""

import re
from dataclasses import dataclass
from enum import Enum

import numpy as np

from seqnet_ros.config import KeyframeConfig
from seqnet_ros.errors import InputError
from seqnet_ros.poses import distance

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Spacing:
    """A distance between keyframes: metres, seconds or images."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> 'Spacing':
        """Read '1.5m', '0.5s' or '3' (every third image).

        Raises:
            InputError: the text is none of these, or not above zero.
        """
        match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*(m|s)?\s*', text)
        if match is None or float(match[1]) <= 0 or (match[2] is None and '.' in match[1]):
            raise InputError(
                f"keyframe spacing {text!r} is not understood: write metres ('1.5m'), "
                "seconds ('0.5s') or a whole number of images ('3')")
        return cls(float(match[1]), match[2] or '')

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f'{self.value:g}{self.unit}'


class Verdict(Enum):
    """What becomes of an image."""

    KEYFRAME = 'keyframe'
    BETWEEN = 'between'
    STATIONARY = 'stationary'


class KeyframeGate:
    """Decides image by image, from stamps and poses first and from the descriptor last.

    With a spacing in metres but without a pose, the change of the descriptor stands in for the
    distance: a keyframe is due when it moved as far as the map's usual step.
    """

    def __init__(
        self, config: KeyframeConfig, spacing: Spacing, usual_change: float | None = None,
    ) -> None:
        """Create the gate.

        Args:
            config: gaps and the smallest change.
            spacing: distance between keyframes.
            usual_change: median L2 distance between descriptors of successive map keyframes;
                None switches every test on descriptors off.
        """
        self._config = config
        self._spacing = spacing
        self._usual_change = usual_change
        self.forget()

    def forget(self) -> None:
        """Start anew, as with the first image."""
        self._last_stamp: int | None = None
        self._last_pose: np.ndarray | None = None
        self._key_stamp: int | None = None
        self._key_pose: np.ndarray | None = None
        self._key_descriptor: np.ndarray | None = None
        self._since_key = 0

    def interrupted(self, stamp_ns: int, pose: np.ndarray | None) -> str | None:
        """Note the arrival of an image; return why the sequence breaks here, or None."""
        reason = self._interruption(stamp_ns, pose)
        if reason is not None:
            self.forget()
        self._last_stamp = stamp_ns
        self._last_pose = pose if pose is not None else self._last_pose
        return reason

    def _interruption(self, stamp_ns: int, pose: np.ndarray | None) -> str | None:
        if self._last_stamp is None:
            return None
        step = (stamp_ns - self._last_stamp) / NANOSECONDS
        if step < 0:
            return f'time went back by {-step:.2f} s'
        if step > self._config.max_gap_s:
            return f'no image for {step:.2f} s'
        if pose is not None and self._last_pose is not None:
            jump = distance(pose, self._last_pose)
            if jump > self._config.max_gap_m:
                return f'the pose jumped by {jump:.1f} m'
        return None

    def before_describing(self, stamp_ns: int, pose: np.ndarray | None) -> Verdict | None:
        """Judge by stamp and pose; None means that the descriptor has to decide."""
        self._since_key += 1
        if self._key_stamp is None:
            return None if self._usual_change is not None else Verdict.KEYFRAME
        if self._spacing.unit == 'm' and pose is not None and self._key_pose is not None:
            moved = distance(pose, self._key_pose)
            if moved >= self._spacing.value:
                return Verdict.KEYFRAME
            waited = (stamp_ns - self._key_stamp) / NANOSECONDS
            standing = waited > 1.0 and moved < 0.1 * self._spacing.value
            return Verdict.STATIONARY if standing else Verdict.BETWEEN
        if self._spacing.unit == 's':
            if stamp_ns - self._key_stamp < self._spacing.value * NANOSECONDS:
                return Verdict.BETWEEN
        elif self._spacing.unit == '' and self._since_key < self._spacing.value:
            return Verdict.BETWEEN
        return None

    def by_descriptor(self, descriptor: np.ndarray) -> Verdict:
        """Judge by the L2-normalised frame descriptor ``[D]``, where stamp and pose did not."""
        if self._key_descriptor is None or not self._usual_change:
            return Verdict.KEYFRAME
        change = float(np.linalg.norm(descriptor - self._key_descriptor)) / self._usual_change
        if change < self._config.min_change:
            return Verdict.STATIONARY
        if self._spacing.unit == 'm' and change < 1.0:
            return Verdict.BETWEEN
        return Verdict.KEYFRAME

    def admit(self, stamp_ns: int, pose: np.ndarray | None, descriptor: np.ndarray) -> None:
        """Make this image the keyframe that the next ones are compared with."""
        self._key_stamp = stamp_ns
        self._key_pose = pose
        self._key_descriptor = descriptor
        self._since_key = 0
