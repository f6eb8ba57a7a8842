"""The route on a map: where the robot was localized, correctly or not, and where it was not.

If only frame numbers are known, the frames are drawn in rows of alternating direction.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from seqnet_ros.evaluation.metrics.localization_metrics import OUTCOMES
from seqnet_ros.evaluation.report import svg

_WIDTH = 720.0
_MARGIN = 18.0
_TALLEST, _LOWEST = 640.0, 160.0
_ROW_HEIGHT = 19.0
_MOST_LINES = 400
_SPREAD = 200.0


def layout(truth: np.ndarray | None, travelled: np.ndarray) -> np.ndarray:
    """Return positions ``[Q, 2]`` of queries, x to the right and y up.

    Args:
        truth: true positions ``[Q, 2]``, NaN where not known; None where only frames are known.
        travelled: frames from the start ``[Q]``.
    """
    return _snake(travelled) if truth is None else truth


def _snake(travelled: np.ndarray) -> np.ndarray:
    total = float(travelled.max()) + 1 if len(travelled) else 1.0
    rows = int(np.clip(np.ceil(total / 60), 1, 30))
    per_row = total / rows
    row = np.minimum((travelled / per_row).astype(int), rows - 1)
    along = travelled / per_row - row
    along = np.where(row % 2, 1 - along, along)
    return np.stack([along * _SPREAD, -row * _SPREAD * _ROW_HEIGHT / _WIDTH], axis=1)


class RouteMap:
    """Fits positions into a drawing.

    Args:
        queries: float64 ``[Q, 2]``, positions of queries, NaN where not known.
        places: float64 ``[N, 2]``, positions of the map's places; None to omit them.
        starts: where in these the second tile of a collection begins, the third and so on.
    """

    def __init__(self, queries: np.ndarray, places: np.ndarray | None,
                 starts: Sequence[int] = ()) -> None:
        self._queries, self._places, self._starts = queries, places, starts
        everything = queries if places is None else np.concatenate([queries, places])
        everything = everything[np.isfinite(everything).all(axis=1)]
        if not len(everything):
            everything = np.zeros((1, 2))
        low, high = everything.min(axis=0), everything.max(axis=0)
        span = np.maximum(high - low, 1e-3)
        self.scale = float(min((_WIDTH - 2 * _MARGIN) / span[0], (_TALLEST - 60) / span[1]))
        self._left = _MARGIN + (_WIDTH - 2 * _MARGIN - self.scale * span[0]) / 2 - self.scale * (
            low[0])
        self._top = _MARGIN + self.scale * high[1]
        self.height = max(float(self.scale * span[1]) + 2 * _MARGIN + 24, _LOWEST / 2)

    def points(self, positions: np.ndarray) -> np.ndarray:
        """Return positions ``[N, 2]`` in the drawing."""
        return np.stack([self._left + self.scale * positions[:, 0],
                         self._top - self.scale * positions[:, 1]], axis=1)

    def draw(self, outcomes: Sequence[str], found: np.ndarray, unit: str) -> Markup:
        """Draw everything.

        Args:
            outcomes: of each query.
            found: float64 ``[Q, 2]``, where accepted but wrong places are; NaN for the others.
            unit: 'm' adds a scale.
        """
        points = self.points(self._queries)
        size = 4.5 if len(points) < 600 else 3.2
        content = ''
        if self._places is not None:
            for tile in np.split(self.points(self._places), self._starts):
                for stretch in _unbroken(tile):
                    content += svg.polyline(svg.thin(stretch, 3000), 'mapped')
        content += self._errors(points, found)
        for outcome in reversed(OUTCOMES):
            marks = ''.join(svg.glyph(outcome, x, y, size)
                            for (x, y), name in zip(points, outcomes, strict=True)
                            if name == outcome and np.isfinite(x))
            content += f'<path class="o-{outcome}" data-outcome="{outcome}" d="{marks}"/>'
        content += '<circle id="here" r="9" cx="-50" cy="-50"/>'
        if unit == 'm':
            content += self.scale_bar()
        counted = ', '.join(f'{sum(name == outcome for name in outcomes)} {meaning}'
                            for outcome, meaning in OUTCOMES.items() if outcome in set(outcomes))
        return svg.drawing(_WIDTH, self.height, 'The route and what was found on it', counted,
                           content, 'id="route"')

    def _errors(self, points: np.ndarray, found: np.ndarray) -> str:
        ends = self.points(found)
        known = np.flatnonzero(np.isfinite(ends).all(axis=1) & np.isfinite(points).all(axis=1))
        lines = ''.join(f'M{svg.num(points[row, 0])} {svg.num(points[row, 1])}'
                        f'L{svg.num(ends[row, 0])} {svg.num(ends[row, 1])}'
                        for row in known[:_MOST_LINES])
        return f'<path class="o-error" data-outcome="wrong" d="{lines}"/>' if lines else ''

    def scale_bar(self) -> str:
        """Draw how long a round number of meters is."""
        wanted = 120 / self.scale
        power = 10.0 ** np.floor(np.log10(wanted))
        metres = max(step * power for step in (1, 2, 5) if step * power <= wanted)
        y, right = self.height - 8, _MARGIN + metres * self.scale
        return (f'<path class="scale" d="M{svg.num(_MARGIN)} {svg.num(y - 4)}v4'
                f'H{svg.num(right)}v-4"/>'
                + svg.text((_MARGIN + right) / 2, y - 5, f'{metres:g} m', css='tick'))


def _unbroken(points: np.ndarray) -> list[np.ndarray]:
    """Split a line where it jumps far, such as from one recording to the next."""
    known = points[np.isfinite(points).all(axis=1)]
    if len(known) < 3:
        return [known]
    steps = np.linalg.norm(np.diff(known, axis=0), axis=1)
    jumps = np.flatnonzero(steps > 20 * max(float(np.median(steps)), 0.2)) + 1
    return [part for part in np.split(known, jumps) if len(part)]
