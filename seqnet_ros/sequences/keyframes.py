"""Keyframe selection: sequences are spaced by distance, not by camera callbacks."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from seqnet_ros.config.engine import SPACING, SPACING_FORMS, EngineConfig, KeyframeConfig
from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.core.poses import NANOSECONDS, RESTART_S, distance

_STILL_M, _STILL_S = 0.05, 1.0
_LEARNED_FROM = 50

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spacing:
    """A distance between keyframes: meters, seconds or images."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> 'Spacing':
        """Read '1.5m', '0.5s' or '3' (every third image).

        Raises:
            InputError: the text is none of these, or not above zero.
        """
        match = SPACING.fullmatch(text)
        value = 0.0 if match is None else float(match[1] or match[3])
        if match is None or value <= 0:
            raise InputError(f'keyframe spacing {quoted(text)} is invalid: use {SPACING_FORMS}')
        return cls(value, match[2] or '')

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f'{self.value:g}{self.unit}'


def keyframe_settings(engine: EngineConfig, spacing: Spacing) -> KeyframeConfig:
    """Return the settings of the gate for an engine and the spacing in use.

    The place filter has a mode of standing still, so a spacing in images counts all of them: in a
    tunnel images do not change although the robot drives.
    """
    if engine.localization.method == 'filter' and spacing.unit == '':
        return engine.keyframes.model_copy(update={'min_change': 0.0})
    return engine.keyframes


class Verdict(Enum):
    """Decision on an image."""

    KEYFRAME = 'keyframe'
    BETWEEN = 'between'
    STATIONARY = 'stationary'


class KeyframeGate:
    """Decides image by image, from stamps and poses first and from the descriptor last.

    With a spacing in meters but without a pose, the change of the descriptor stands in for the
    distance: a keyframe is due when it moved as far as the map's usual step.

    An image stamped before the newest one, by less than `RESTART_S`, is late: it is between
    keyframes, whatever it shows. Further back, a new sequence begins.

    Attributes:
        late: number of late images.
    """

    def __init__(
        self, config: KeyframeConfig, spacing: Spacing, usual_change: float | None = None,
    ) -> None:
        """Create the gate.

        Args:
            config: gaps and the smallest change.
            spacing: distance between keyframes.
            usual_change: median L2 distance between descriptors of successive map keyframes;
                None learns it from the keyframes so far.
        """
        self._config = config
        self._spacing = spacing
        self._given_change = usual_change
        self._changes: deque[float] = deque(maxlen=_LEARNED_FROM)
        self.late = 0
        self._newest_is_late = False
        self.forget()

    def use(self, config: KeyframeConfig, spacing: Spacing, usual_change: float | None) -> None:
        """Use other settings from the next image on; arguments as in the constructor."""
        if spacing != self._spacing:
            self._overshoot = 0.0
        self._config = config
        self._spacing = spacing
        self._given_change = usual_change

    def forget(self) -> None:
        """Reset, so that the next image counts as the first."""
        self._last_stamp: int | None = None
        self._last_pose: np.ndarray | None = None
        self._moved_stamp: int | None = None
        self._moved_pose: np.ndarray | None = None
        self._key_stamp: int | None = None
        self._key_pose: np.ndarray | None = None
        self._key_descriptor: np.ndarray | None = None
        self._since_key = 0
        self._overshoot = 0.0

    @property
    def _usual_change(self) -> float:
        if self._given_change is not None:
            return self._given_change
        return float(np.median(self._changes)) if self._changes else 0.0

    def interrupted(self, stamp_ns: int, pose: np.ndarray | None) -> str | None:
        """Note the arrival of an image; return why the sequence breaks here, or None."""
        self._newest_is_late = self._is_late(stamp_ns)
        if self._newest_is_late:
            return None
        reason = self._interruption(stamp_ns, pose)
        if reason is not None:
            self.forget()
        self._last_stamp = stamp_ns
        self._last_pose = pose
        if pose is None or self._moved_pose is None or (
                distance(pose, self._moved_pose) > _STILL_M):
            self._moved_stamp, self._moved_pose = stamp_ns, pose
        return reason

    def _is_late(self, stamp_ns: int) -> bool:
        if self._last_stamp is None:
            return False
        back_s = (self._last_stamp - stamp_ns) / NANOSECONDS
        if not 0 < back_s < RESTART_S:
            return False
        if not self.late:
            _logger.warning('an image is stamped %.3f s before the newest one: it is left out, as '
                            'are others less than %g s back', back_s, RESTART_S)
        self.late += 1
        return True

    def _standing(self, stamp_ns: int) -> bool:
        """Return whether poses say that the robot has not moved for a while."""
        if self._moved_pose is None or self._moved_stamp is None:
            return False
        return stamp_ns - self._moved_stamp > _STILL_S * NANOSECONDS

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

    def consider(self, stamp_ns: int, pose: np.ndarray | None,
                 describe: Callable[[], np.ndarray]) -> tuple[Verdict, np.ndarray | None]:
        """Decide on an image after `interrupted`, and add it if it is a keyframe.

        Args:
            stamp_ns: when it was taken.
            pose: its pose ``[7]``, if known.
            describe: returns its frame descriptor ``[D]``; called only where that is needed.

        Returns:
            The decision on the image, and its descriptor if it was computed.
        """
        verdict = self.before_describing(stamp_ns, pose)
        if verdict in (Verdict.BETWEEN, Verdict.STATIONARY):
            return verdict, None
        descriptor = describe()
        if verdict is None:
            verdict = self.by_descriptor(descriptor)
        if verdict is Verdict.KEYFRAME:
            self.admit(stamp_ns, pose, descriptor)
        return verdict, descriptor

    def before_describing(self, stamp_ns: int, pose: np.ndarray | None) -> Verdict | None:
        """Decide by stamp and pose; None means that the descriptor has to decide."""
        if self._newest_is_late:
            return Verdict.BETWEEN
        self._since_key += 1
        if self._key_stamp is None:
            return Verdict.KEYFRAME
        if self._standing(stamp_ns):
            return Verdict.STATIONARY
        if not self._due(stamp_ns, pose):
            return Verdict.BETWEEN
        return None if pose is None or self._key_pose is None else Verdict.KEYFRAME

    def _due(self, stamp_ns: int, pose: np.ndarray | None) -> bool:
        if self._spacing.unit == '':
            return self._since_key >= self._spacing.value
        travelled = self._travelled(stamp_ns, pose)
        return travelled is None or travelled >= self._spacing.value - self._overshoot

    def _travelled(self, stamp_ns: int, pose: np.ndarray | None) -> float | None:
        """Return how far the last keyframe is, in the unit of the spacing; None if unknown."""
        assert self._key_stamp is not None
        if self._spacing.unit == 's':
            return (stamp_ns - self._key_stamp) / NANOSECONDS
        if pose is None or self._key_pose is None:
            return None
        return distance(pose, self._key_pose)

    def by_descriptor(self, descriptor: np.ndarray) -> Verdict:
        """Decide by the L2-normalized frame descriptor ``[D]``, if stamp and pose did not."""
        if self._key_descriptor is None:
            return Verdict.KEYFRAME
        change = float(np.linalg.norm(descriptor - self._key_descriptor))
        smallest = self._config.min_change * self._usual_change
        if self._config.min_change and change <= smallest:
            return Verdict.STATIONARY
        if self._spacing.unit == 'm' and change < self._usual_change:
            return Verdict.BETWEEN
        return Verdict.KEYFRAME

    def admit(self, stamp_ns: int, pose: np.ndarray | None, descriptor: np.ndarray) -> None:
        """Make this image the keyframe that the next ones are compared with."""
        if self._key_stamp is not None and self._key_descriptor is not None:
            self._changes.append(float(np.linalg.norm(descriptor - self._key_descriptor)))
            travelled = self._travelled(stamp_ns, pose)
            if travelled is not None:
                # A keyframe that comes late must not push all later ones back.
                late = travelled - (self._spacing.value - self._overshoot)
                self._overshoot = min(max(late, 0.0), 0.9 * self._spacing.value)
        self._key_stamp = stamp_ns
        self._key_pose = pose
        self._key_descriptor = descriptor
        self._since_key = 0
