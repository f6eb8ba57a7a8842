"""Correction of image stamps that are slightly out of order."""

import logging
from collections import deque
from itertools import pairwise
from statistics import median_low

from seqnet_ros.core.poses import NANOSECONDS, RESTART_S

_RECENT = 20
_HOLE = 1.5
_MOST_IN_A_ROW = 2

_logger = logging.getLogger(__name__)


class StampOrder:
    """Corrects stamps of images in the order of their arrival.

    A stamp that goes back by less than `RESTART_S` belongs to an image that another one has
    overtaken: then it is right, and there is a hole among the stamps where it belongs. Or the
    camera read its clock wrongly: then its place is taken, and the image gets a stamp one period
    after the newest one. After two such images in a row stamps are left alone, since the clock was
    set. They are left alone, too, where images come too rarely for a period: most steps between
    the last ones are as long as `RESTART_S`, as while the clock jumps.

    Attributes:
        corrected: number of stamps that were replaced.
    """

    def __init__(self, what: str) -> None:
        """Begin.

        Args:
            what: whose stamps they are, for the log.
        """
        self._what = what
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._in_a_row = 0
        self.corrected = 0

    def correct(self, stamp_ns: int) -> int:
        """Return the stamp of the next image, nanoseconds."""
        newest = max(self._recent, default=stamp_ns)
        back_ns = newest - stamp_ns
        if back_ns >= RESTART_S * NANOSECONDS:
            self._recent.clear()
        if 0 < back_ns < RESTART_S * NANOSECONDS and (period_ns := self._period_ns()):
            if not self._hole_at(stamp_ns, period_ns) and self._in_a_row < _MOST_IN_A_ROW:
                self._note(back_ns)
                stamp_ns = newest + period_ns
        else:
            self._in_a_row = 0
        self._recent.append(stamp_ns)
        return stamp_ns

    def _period_ns(self) -> int:
        """Return the usual time between images; 0 where it is not known."""
        steps = [after - before for before, after in pairwise(sorted(self._recent))]
        period_ns = median_low(steps) if len(steps) > 1 else 0
        return period_ns if period_ns < RESTART_S * NANOSECONDS else 0

    def _hole_at(self, stamp_ns: int, period_ns: int) -> bool:
        before = max((stamp for stamp in self._recent if stamp <= stamp_ns), default=None)
        after = min(stamp for stamp in self._recent if stamp > stamp_ns)
        return before is None or after - before > _HOLE * period_ns

    def _note(self, back_ns: int) -> None:
        if not self.corrected:
            _logger.warning(
                '%s: a stamp is %.3f s before the newest one, at a time that another image has: it '
                'is replaced by the time when the next image was due, as are others like it',
                self._what, back_ns / NANOSECONDS)
        self.corrected += 1
        self._in_a_row += 1
