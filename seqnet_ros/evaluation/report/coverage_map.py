"""The coverage of a map as a picture: the route, drawn by the classes of its places."""

import numpy as np
from markupsafe import Markup

from seqnet_ros.evaluation.coverage.coverage import MEANINGS, Coverage, Kind, places_along
from seqnet_ros.evaluation.report import svg
from seqnet_ros.evaluation.report.route_map import RouteMap, layout
from seqnet_ros.evaluation.report.template import resource

_WIDTH = 720.0
_ROW = 22.0
_MOST_LINES = 200


def draw_coverage(coverage: Coverage) -> str:
    """Return the picture as an SVG file; like the evaluation report it follows the theme."""
    place_map = coverage.place_map
    known = place_map.positions[:, :2] if place_map.manifest.has_poses else None
    positions = layout(known, np.arange(len(place_map), dtype=float))
    route = RouteMap(positions, None)
    points = route.points(positions)
    breaks = np.flatnonzero(np.diff(place_map.segment_starts)) + 1
    content = ''.join(svg.polyline(svg.thin(part, 3000), 'mapped')
                      for part in np.split(points, breaks))
    # Where the map passes a street twice, what lacks is drawn above.
    kinds = list(Kind)
    for way in sorted(coverage.stretches(), key=lambda way: kinds.index(way[0].kind)):
        css = f'c-{way[0].kind.value}'
        content += svg.polyline(svg.thin(points[places_along(way)], 3000), css)
    content += _lookalikes(coverage, points)
    if coverage.unit == 'm':
        content += route.scale_bar()
    content += _legend(coverage, route.height)
    described = ', '.join(f'{coverage.share(kind):.0%} {kind.value}' for kind in Kind)
    style = Markup('<style>') + resource('report.css') + Markup('</style>')
    return svg.drawing(_WIDTH, route.height + (len(Kind) + 1) * _ROW, 'Where a robot is found',
                       described, style + Markup(content),
                       'xmlns="http://www.w3.org/2000/svg"') + '\n'


def _lookalikes(coverage: Coverage, points: np.ndarray) -> str:
    """Draw a line from the middle of each stretch to the place that looks like it."""
    lines = ''
    for way in coverage.worst(_MOST_LINES):
        middle = way[len(way) // 2]
        if middle.rival is not None:
            (x, y), (to_x, to_y) = points[[middle.place, middle.rival]]
            lines += f'M{svg.num(x)} {svg.num(y)}L{svg.num(to_x)} {svg.num(to_y)}'
    return f'<path class="o-error" d="{lines}"/>' if lines else ''


def _legend(coverage: Coverage, top: float) -> str:
    rows = ''
    for number, kind in enumerate(Kind):
        y = top + (number + 0.5) * _ROW
        rows += svg.polyline([(18, y), (62, y)], f'c-{kind.value}')
        rows += svg.text(72, y + 4, f'{kind.value}: {coverage.share(kind):.0%}, '
                         f'{coverage.length(kind):.0f} {coverage.unit}; {MEANINGS[kind]}', 'start')
    return rows + svg.text(18, top + (len(Kind) + 0.5) * _ROW + 4,
                           f'switched on anywhere, found within {coverage.within:g} '
                           f'{coverage.unit}; searched: {coverage.asked}', 'start', 'tick')
