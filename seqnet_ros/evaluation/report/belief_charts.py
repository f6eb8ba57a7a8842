"""The belief of the place filter over a drive: its probabilities, and where on the map it was.

Both drawings have the queries from left to right, at the same scale.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from markupsafe import Markup

from seqnet_ros.evaluation.replay.belief_history import BeliefHistory
from seqnet_ros.evaluation.replay.replay import Query
from seqnet_ros.evaluation.report import svg
from seqnet_ros.evaluation.report.pictures import data_uri, png

_WIDTH = 720.0
_MOST_POINTS = 360
_MOST_TRUTH = 1200
_DECADES = 4
"""The faintest probability that is drawn is ten to the minus this."""
_LANES = {'hit': (-0.1, 'correct'), 'wrong': (-0.2, 'wrong'), 'unknown': (-0.3, '?')}
_LANE_HEIGHT = 0.06
_SCALE_HEIGHT = 24.0
_JUMP = 0.05


def probability_chart(queries: Sequence[Query]) -> Markup:
    """Draw the probability of the best place and of being off the map, and what was accepted.

    Args:
        queries: the results of a drive with the place filter.
    """
    accepted = [query.judged.outcome if query.judged.result.accepted else ''
                for query in queries]
    lanes = [_LANES[name] for name in _LANES if name in accepted or name != 'unknown']
    axes = svg.Axes('query', 'probability', _WIDTH, 260, (0.0, max(len(queries), 1)),
                    (min(at for at, _ in lanes) - _LANE_HEIGHT, 1.0))
    content = axes.frame(_query_ticks(queries), [*svg.SHARES, *lanes])
    content += _lanes(accepted, axes)
    off_map = [query.judged.result.off_map for query in queries]
    scores = [None if (best := query.judged.result.best) is None else best.score
              for query in queries]
    for values, css in ((off_map, 'second-line'), (scores, 'curve fine')):
        points = _envelope(np.array([np.nan if one is None else one for one in values]))
        content += svg.polyline([(axes.x(x), axes.y(y)) for x, y in points], css)
    described = (f'{sum(map(bool, accepted))} of {len(queries)} results are accepted. Solid line: '
                 'best place; dashed line: off the map.')
    return svg.drawing(axes.width, axes.height, 'Probabilities over the drive', described, content)


def _lanes(accepted: Sequence[str], axes: svg.Axes) -> str:
    """Return a bar for each stretch of accepted results, in the lane of its outcome."""
    content, first = '', 0
    for outcome, group in groupby(accepted):
        end = first + len(list(group))
        if outcome:
            at, _ = _LANES[outcome]
            top, bottom = axes.y(at + _LANE_HEIGHT / 2), axes.y(at - _LANE_HEIGHT / 2)
            content += (f'<rect class="lane-{outcome}" x="{svg.num(axes.x(first))}" '
                        f'y="{svg.num(top)}" height="{svg.num(bottom - top)}" '
                        f'width="{svg.num(max(axes.x(end) - axes.x(first), 1.0))}"/>')
        first = end
    return content


def _envelope(values: np.ndarray) -> np.ndarray:
    """Return points ``[P, 2]`` of a curve over ``[Q]`` results, with all its peaks.

    Of many results, each group shows its least and its largest value. Unknown ones are left out.
    """
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) <= 2 * _MOST_POINTS:
        return np.stack([rows + 0.5, values[rows]], axis=1)
    points: list[tuple[float, float]] = []
    for part in np.array_split(rows, _MOST_POINTS):
        extremes = sorted({int(part[values[part].argmin()]), int(part[values[part].argmax()])})
        points.extend((row + 0.5, float(values[row])) for row in extremes)
    return np.array(points)


def belief_map(history: BeliefHistory, queries: Sequence[Query]) -> Markup:
    """Draw the belief, queries to the right and places upward, and the true places.

    Args:
        history: the belief.
        queries: the same results.
    """
    axes = svg.Axes('query', 'place of the map', _WIDTH, 340, (0.0, history.results),
                    (0.0, history.places))
    left, right = axes.x(0), axes.x(history.stride * len(history.probabilities))
    top, bottom = axes.y(history.places), axes.y(0)
    clip = axes.x(history.results)
    area = f'x="{svg.num(left)}" y="{svg.num(top)}" height="{svg.num(bottom - top)}"'
    content = axes.frame(_query_ticks(queries), svg.ticks(history.places))
    content += (f'<mask id="belief-mask" maskUnits="userSpaceOnUse" {area} '
                f'width="{svg.num(clip - left)}"><image href="{data_uri(png(_shades(history)))}" '
                f'{area} width="{svg.num(right - left)}" preserveAspectRatio="none" '
                f'class="crisp"/></mask><rect class="belief" mask="url(#belief-mask)" {area} '
                f'width="{svg.num(clip - left)}"/>')
    content += _true_places(queries, axes, history.places)
    return svg.drawing(
        axes.width, axes.height + _SCALE_HEIGHT, 'Belief along the route',
        'The darker or brighter against the page, the more probable is a place. The dashed line is '
        'the true place.',
        f'{_scale()}<g transform="translate(0 {svg.num(_SCALE_HEIGHT)})">{content}</g>')


def _shades(history: BeliefHistory) -> np.ndarray:
    """Return the belief as an image, first place at the bottom, uint8 ``[R, C]``."""
    least = 10.0 ** -_DECADES
    decades = np.log10(np.maximum(history.probabilities.T[::-1], least))
    return np.rint(255 * np.clip(1 + decades / _DECADES, 0, 1)).astype(np.uint8)


def _scale() -> str:
    """Return the shades of powers of ten."""
    content, x = svg.text(46, 13, 'probability', 'start', 'tick'), 118.0
    for power in range(_DECADES, -1, -1):
        content += (f'<rect class="belief swatch" fill-opacity="{1 - power / _DECADES:g}" '
                    f'x="{svg.num(x)}" y="3" width="22" height="12"/>')
        content += svg.text(x + 27, 13, f'{10.0 ** -power:g}', 'start', 'tick')
        x += 78
    return content


def _true_places(queries: Sequence[Query], axes: svg.Axes, places: int) -> str:
    """Return the line of the true places, broken where the map has none or it jumps."""
    step = len(queries) // _MOST_TRUTH + 1
    known = [(row + 0.5, query.judged.judgement.true_place + 0.5)
             for row, query in enumerate(queries)
             if row % step == 0 and query.judged.judgement.in_map]
    points = np.array(known).reshape(-1, 2)
    if not len(points):
        return ''
    apart = np.abs(np.diff(points, axis=0))
    breaks = (apart[:, 0] > step) | (apart[:, 1] > max(_JUMP * places, 3.0 * step))
    return ''.join(
        svg.polyline([(axes.x(x), axes.y(y)) for x, y in part], 'true-line')
        for part in np.split(points, np.flatnonzero(breaks) + 1))


def _query_ticks(queries: Sequence[Query]) -> list[tuple[float, str]]:
    """Return round numbers of queries at the results that they are nearest to."""
    if not queries:
        return []
    numbers = np.array([query.number for query in queries])
    return [(float(np.searchsorted(numbers, value)), label)
            for value, label in svg.ticks(int(numbers[-1]) + 1, int(numbers[0]))]
