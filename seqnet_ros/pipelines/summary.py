"""Counts of the results of a recording, and how long it took."""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqnet_ros.localization.result import MatchResult


class Summary:
    """Counts results as they come."""

    def __init__(self) -> None:
        self.images = 0
        self.damaged = 0
        self.searched = 0
        self.seconds = 0.0
        self._reasons: Counter[str] = Counter()
        self._milliseconds: list[float] = []

    def add(self, result: 'MatchResult | None') -> None:
        """Count one image; None is an image between keyframes."""
        self.images += 1
        if result is None:
            return
        self._reasons[result.reason.name.lower()] += 1
        if result.candidates:
            self.searched += 1
            self._milliseconds.append(1e3 * (result.describe_seconds + result.match_seconds))

    def numbers(self) -> dict[str, object]:
        """Return everything counted, for ``summary.json``."""
        return {
            'images': self.images, 'images_damaged': self.damaged,
            'results': sum(self._reasons.values()), 'searched': self.searched,
            'reasons': dict(sorted(self._reasons.items())),
            'seconds': round(self.seconds, 3),
            'milliseconds_per_search': {
                'p50': self._percentile(50), 'p99': self._percentile(99)}}

    def lines(self) -> dict[str, object]:
        """Return the main counts in human-readable form."""
        rejected = ', '.join(f'{count} {name}' for name, count in self._reasons.most_common()
                             if name != 'accepted')
        damaged = {'damaged images': self.damaged} if self.damaged else {}
        return {
            'images': f'{self.images} in {self.seconds:.1f} s', **damaged,
            'searched': self.searched,
            'accepted': self._reasons['accepted'],
            'not accepted': rejected or 'none',
            'time per search': f'p50 {self._percentile(50)} ms, p99 {self._percentile(99)} ms'
            if self._milliseconds else 'none'}

    def _percentile(self, percent: int) -> float | None:
        import numpy as np

        if not self._milliseconds:
            return None
        return round(float(np.percentile(self._milliseconds, percent)), 2)
