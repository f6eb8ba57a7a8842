"""Failed checks."""

from collections import Counter


class CheckResults:
    """Counts what was looked at and what was wrong, and keeps the first example of each kind."""

    def __init__(self) -> None:
        self.looked = 0
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def expect(self, condition: bool, kind: str, example: object = '') -> None:
        """Note that something should hold, and whether it does.

        Args:
            condition: does it?
            kind: what is wrong if not, in a few words.
            example: what was found.
        """
        self.looked += 1
        if not condition:
            self._counts[kind] += 1
            self._examples.setdefault(kind, str(example))

    def __bool__(self) -> bool:
        """Return whether anything was wrong."""
        return bool(self._counts)

    def __str__(self) -> str:
        """Return one line for each kind."""
        return '\n'.join(
            f'{count} x {kind}' + (f', e.g. {self._examples[kind]}' if self._examples[kind] else '')
            for kind, count in self._counts.most_common())
