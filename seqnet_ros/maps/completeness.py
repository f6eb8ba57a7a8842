"""Completeness of a drive: images that never arrived, and parts of the route without a place."""

from collections import deque

import numpy as np
from pydantic import Field

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.poses import NANOSECONDS

WORTH_TELLING = 0.02
"""Share of missing images from which on a drive counts as incomplete."""
_LEARNED_FROM = 200
_ENOUGH = 10
_PERIOD_QUANTILE = 0.1
_REGULAR = 0.8
_NEAR = 0.25
_STEADY = 8
"""Equal steps in a row that show that the camera is slower, not that images are missing."""
_EQUAL = 0.1
_HOLE_STEPS = 3.0
_STANDING_M = 0.05

ADVICE = ('the localizer is lost where places are missing: find the cause (nodes.md, "Maps with '
          'holes"), and drive again or add the stretch with --extend')


class Completeness(Settings):
    """How completely the images of the drives of a map became places."""

    images: int = Field(ge=0, description='Images that were looked at.')
    missing: int = Field(
        ge=0, description='Images that should have come between them, by the rate of their stamps '
                          'or by what a node knows it lost.')
    holes: int = Field(
        ge=0, description='Steps between successive places that are more than three times as long '
                          'as usual; 0 without poses.')
    longest_hole_m: float = Field(
        ge=0, allow_inf_nan=False, description='The longest of them, m.')

    @property
    def missing_share(self) -> float:
        """Share of the images that are missing."""
        expected = self.images + self.missing
        return self.missing / expected if expected else 0.0

    @property
    def incomplete(self) -> bool:
        """Whether so much is missing that the user should be told."""
        return self.missing_share >= WORTH_TELLING or self.holes > 0

    def joined(self, other: 'Completeness') -> 'Completeness':
        """Return this drive and another one together."""
        return Completeness(
            images=self.images + other.images, missing=self.missing + other.missing,
            holes=self.holes + other.holes,
            longest_hole_m=max(self.longest_hole_m, other.longest_hole_m))

    def __str__(self) -> str:
        """Return the numbers in words."""
        parts = []
        if self.missing:
            parts.append(f'{self.missing} of {self.images + self.missing} images missing '
                         f'({self.missing_share:.0%})')
        if self.holes:
            parts.append(f'{self.holes} {"hole" if self.holes == 1 else "holes"} in the route, '
                         f'the longest {self.longest_hole_m:.1f} m')
        return ', '.join(parts) or f'{self.images} images, none missing'


class MissingImages:
    """Counts the images that are missing between those that come, by their stamps.

    The period of the camera is the time that the shortest tenth of the steps between images does
    not exceed: where images are missing, steps are multiples of it. Steps of a camera without a
    constant period are no multiples of anything, and nothing is counted. Nor is it where many steps
    in a row are equal: cameras expose for longer in the dark, and videos have no constant rate.

    Args:
        longest_s: a longer step is a pause of the camera, seconds.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_ns = longest_s * NANOSECONDS
        self._steps: deque[int] = deque(maxlen=_LEARNED_FROM)
        self._uncounted: list[int] = []
        self._last_ns: int | None = None
        self._run_step = self._run_length = self._run_missing = 0  # equal steps in a row
        self.images = 0
        self.missing = 0

    def add(self, stamp_ns: int) -> None:
        """Count an image by its stamp."""
        step = 0 if self._last_ns is None else stamp_ns - self._last_ns
        self._last_ns = stamp_ns
        self.images += 1
        if not 0 < step <= self._longest_ns:
            return
        self._steps.append(step)
        self._uncounted.append(step)
        if len(self._steps) < _ENOUGH:
            return
        steps = np.array(self._steps)
        period = float(np.quantile(steps, _PERIOD_QUANTILE))
        periods = steps / period
        if np.mean(np.abs(periods - np.round(periods)) <= _NEAR) >= _REGULAR:
            for step in self._uncounted:
                self._count(step, round(step / period) - 1 if step > 1.5 * period else 0)
        self._uncounted.clear()

    def _count(self, step: int, missing: int) -> None:
        """Count what is missing within a step once the steps after it are known not to equal it."""
        if abs(step - self._run_step) > _EQUAL * self._run_step:
            if self._run_length < _STEADY:
                self.missing += self._run_missing
            self._run_step, self._run_length, self._run_missing = step, 0, 0
        self._run_length += 1
        self._run_missing += missing


def find_holes(steps_m: np.ndarray, spacing_m: float = 0.0) -> tuple[int, float]:
    """Return the number of holes in a drive, and the length of the longest, meters.

    Args:
        steps_m: distances between successive places ``[N]``, meters.
        spacing_m: spacing of the keyframes where it is a distance, meters.
    """
    if not len(steps_m):
        return 0, 0.0
    usual = max(float(np.median(steps_m)), spacing_m, _STANDING_M)
    holes = steps_m[steps_m > _HOLE_STEPS * usual]
    return len(holes), float(holes.max(initial=0.0))
