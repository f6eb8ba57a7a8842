"""Drawings for the report, as SVG text. Colors come from the style sheet, by class."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

_MARGIN_LEFT, _MARGIN_BOTTOM, _MARGIN_TOP, _MARGIN_RIGHT = 46, 40, 12, 14

GLYPHS = {
    'hit': 'M{x} {y}m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z',
    'wrong': 'M{x} {y}m-{r} -{r}l{d} {d}m0 -{d}l-{d} {d}',
    'missed': 'M{x} {y}m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z',
    'lost': 'M{x} {y}m0 -{r}l{r} {d}h-{d}z',
    'elsewhere': 'M{x} {y}m-{r} -{r}h{d}v{d}h-{d}z',
    'waiting': 'M{x} {y}m-{r} 0h{d}',
    'unknown': 'M{x} {y}m-{r} 0h{d}m-{r} -{r}v{d}',
}
"""One shape for each outcome, so that outcomes never differ in color alone."""
_SIZES = {'wrong': 1.25, 'lost': 1.1, 'waiting': 0.5, 'unknown': 0.6, 'elsewhere': 0.8}


def glyph(outcome: str, x: float, y: float, size: float) -> str:
    """Return the path of an outcome's shape at a point."""
    radius = size * _SIZES.get(outcome, 1.0)
    return GLYPHS[outcome].format(x=num(x), y=num(y), r=num(radius), d=num(2 * radius))


def num(value: float) -> str:
    """Return a coordinate, short."""
    return f'{value:.1f}'.rstrip('0').rstrip('.')


def drawing(width: float, height: float, title: str, description: str, content: str,
            extra: str = '') -> Markup:
    """Return a drawing that scales with the page; screen readers read its unique title."""
    name = re.sub('[^a-z]+', '-', title.lower())
    return Markup(
        f'<svg viewBox="0 0 {num(width)} {num(height)}" role="img" {extra} '
        f'aria-labelledby="{name} {name}-more"><title id="{name}">{escape(title)}</title>'
        f'<desc id="{name}-more">{escape(description)}</desc>{content}</svg>')


def polyline(points: Iterable[tuple[float, float]], css: str) -> str:
    """Return a line through points."""
    joined = ' '.join(f'{num(x)},{num(y)}' for x, y in points)
    return f'<polyline class="{css}" points="{joined}"/>'


def text(x: float, y: float, words: str, anchor: str = 'middle', css: str = '') -> str:
    """Return text at a point."""
    return (f'<text x="{num(x)}" y="{num(y)}" text-anchor="{anchor}" class="{css}">'
            f'{escape(words)}</text>')


@dataclass(frozen=True)
class Axes:
    """A plot area with axes from 0 to 1 (or other ends) in both directions.

    Attributes:
        x_label: below.
        y_label: beside.
        width: of the drawing.
        height: of the drawing.
        x_ends: values at the left and right end.
        y_ends: values at the bottom and the top.
    """

    x_label: str
    y_label: str
    width: float = 360
    height: float = 260
    x_ends: tuple[float, float] = (0.0, 1.0)
    y_ends: tuple[float, float] = (0.0, 1.0)

    def x(self, value: float) -> float:
        """Return the distance of a value from the left."""
        low, high = self.x_ends
        inner = self.width - _MARGIN_LEFT - _MARGIN_RIGHT
        return _MARGIN_LEFT + inner * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Return the distance of a value from the top."""
        low, high = self.y_ends
        inner = self.height - _MARGIN_TOP - _MARGIN_BOTTOM
        return self.height - _MARGIN_BOTTOM - inner * (value - low) / (high - low)

    def frame(self, x_ticks: Sequence[tuple[float, str]],
              y_ticks: Sequence[tuple[float, str]]) -> str:
        """Return grid, ticks and labels."""
        left, right = self.x(self.x_ends[0]), self.x(self.x_ends[1])
        bottom, top = self.y(self.y_ends[0]), self.y(self.y_ends[1])
        parts = [f'<line class="grid" x1="{num(left)}" x2="{num(right)}" y1="{num(self.y(at))}" '
                 f'y2="{num(self.y(at))}"/>' + text(left - 6, self.y(at) + 4, label, 'end', 'tick')
                 for at, label in y_ticks]
        parts += [f'<line class="grid" x1="{num(self.x(at))}" x2="{num(self.x(at))}" '
                  f'y1="{num(bottom)}" y2="{num(top)}"/>'
                  + text(self.x(at), bottom + 15, label, css='tick') for at, label in x_ticks]
        parts.append(text((left + right) / 2, self.height - 6, self.x_label, css='label'))
        middle = (bottom + top) / 2
        parts.append(f'<text class="label" text-anchor="middle" transform="translate(11 '
                     f'{num(middle)}) rotate(-90)">{escape(self.y_label)}</text>')
        return ''.join(parts)


SHARES = [(value, f'{value:g}') for value in (0.0, 0.25, 0.5, 0.75, 1.0)]


def ticks(end: float, begin: float = 0.0, wanted: int = 6) -> list[tuple[float, str]]:
    """Return about as many round whole numbers as wanted, below an end, with their labels."""
    span = max(end - begin, 1.0)
    power = 10.0 ** np.floor(np.log10(span / wanted))
    step = max(min((factor * power for factor in (1, 2, 5, 10)),
                   key=lambda one: abs(span / one - wanted)), 1.0)
    values = np.arange(np.ceil(begin / step) * step, end, step)
    return [(float(value), f'{value:.0f}') for value in values]


def thin(columns: np.ndarray, most: int = 800) -> np.ndarray:
    """Return at most about this many of the points ``[N, 2]`` of a curve, its ends among them."""
    if len(columns) <= most:
        return columns
    return columns[np.unique(np.linspace(0, len(columns) - 1, most).astype(int))]
