"""What became of the cases of one fault."""

from collections import Counter
from dataclasses import dataclass, field

LOST = 'maps lost'
DELETED = 'foreign files deleted'
HALF = 'half maps accepted'
WRONG = 'wrong results'
NAN = 'NaN accepted'
EXECUTED = 'executions'
TRACEBACK = 'tracebacks'
KILLED = 'processes killed'
MEMORY = 'memory above limit'
ENDLESS = 'too slow'
FAILURES = (LOST, DELETED, HALF, WRONG, NAN, EXECUTED, TRACEBACK, KILLED, MEMORY, ENDLESS)
"""What must not happen; each is a column of the table."""

REFUSED = 'refused'
ACCEPTED = 'accepted'
_EXAMPLES = 3


@dataclass
class Outcome:
    """Counts of one fault.

    Attributes:
        fault: its name.
        seconds: time the cases took.
        endings: how the cases ended, by what happened; those of `FAILURES` must be zero.
        examples: the first cases of each failure.
        peak_mib: the largest growth of memory by a case, MiB; 0 where it is not measured.
    """

    fault: str
    seconds: float = 0.0
    endings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    peak_mib: float = 0.0

    def add(self, ending: str, example: object = '') -> None:
        """Count a case, and keep the first examples of failures."""
        self.endings[ending] += 1
        kept = self.examples.setdefault(ending, [])
        if ending in FAILURES and len(kept) < _EXAMPLES:
            kept.append(str(example))

    @property
    def cases(self) -> int:
        """Number of cases."""
        return sum(self.endings.values())

    @property
    def failures(self) -> int:
        """Number of cases that ended as they must not."""
        return sum(self.endings[name] for name in FAILURES)
