"""Statistics of a node since its last report. Each number is written by one thread only."""

import time
from collections import deque
from dataclasses import dataclass, field

_RECENT = 50


@dataclass
class Recent:
    """The last few values of something measured in seconds."""

    values: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def add(self, value: float) -> None:
        """Add a value."""
        self.values.append(value)

    def report(self, what: str) -> dict[str, float]:
        """Return mean and maximum in milliseconds, by name; nothing before the first value."""
        values = tuple(self.values)
        if not values:
            return {}
        return {f'{what}, mean (ms)': round(1e3 * sum(values) / len(values), 1),
                f'{what}, maximum (ms)': round(1e3 * max(values), 1)}


@dataclass
class Statistics:
    """Counters since the node was activated.

    Attributes:
        received: images that arrived.
        lost: images that the middleware reports as lost on the way.
        missed: images that came while the process was suspended.
        dropped: images that were left out because the node was busy.
        ignored: images that arrived during a pause.
        processed: images given to the engine.
        without_pose: images that odometry had no pose for.
        describe: time of the frame descriptor.
        match: time of search and decision.
        delay: time from arrival to the end of processing.
    """

    received: int = 0
    lost: int = 0
    missed: int = 0
    dropped: int = 0
    ignored: int = 0
    processed: int = 0
    without_pose: int = 0
    describe: Recent = field(default_factory=Recent)
    match: Recent = field(default_factory=Recent)
    delay: Recent = field(default_factory=Recent)


class Rates:
    """Turns counters into rates between two reports."""

    def __init__(self) -> None:
        self._then = time.monotonic()
        self._counts: dict[str, int] = {}

    def update(self, **counts: int) -> dict[str, float]:
        """Return how fast each counter grew since the last call, per second."""
        now = time.monotonic()
        elapsed = max(now - self._then, 1e-9)
        rates = {name: max(count - self._counts.get(name, 0), 0) / elapsed
                 for name, count in counts.items()}
        self._then, self._counts = now, dict(counts)
        return rates
