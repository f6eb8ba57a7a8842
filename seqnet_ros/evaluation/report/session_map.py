"""The sessions of a map as a picture: before they were aligned, and in one frame."""

from pathlib import Path
from textwrap import shorten

import numpy as np
from markupsafe import Markup

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import whole_file
from seqnet_ros.evaluation.report import svg
from seqnet_ros.evaluation.report.route_map import RouteMap
from seqnet_ros.evaluation.report.template import resource
from seqnet_ros.pipelines.map_sessions import MappedSessions
from seqnet_ros.sessions.alignment import Alignment

SUFFIX = '.svg'
_WIDTH = 720.0
_ROW = 22.0
_TITLE = 30.0
_STYLES = 5
_MOST_LINES = 400
_WIDEST = 96
_FAR = 2.0
"""Odometry is moved to the map for the picture where it begins this many map sizes away."""


def picture_beside(report: Path) -> Path:
    """Return the path of the picture that belongs to a report.

    Raises:
        InputError: the report itself has the name of a picture.
    """
    if report.suffix == SUFFIX:
        raise InputError(f'the report is {report}, expected another ending than {SUFFIX}, which is '
                         'that of the picture beside it')
    return report.with_suffix(SUFFIX)


def write_picture(path: Path, mapped: MappedSessions) -> None:
    """Write the picture of sessions.

    Raises:
        InputError: it cannot be written.
    """
    with whole_file(path) as file:
        file.write(draw_sessions(mapped).encode())


def draw_sessions(mapped: MappedSessions) -> str:
    """Return the picture as an SVG file; like the evaluation report it follows the theme."""
    aligned = [one for one in mapped.alignments if one is not None]
    place_map = mapped.place_map
    count = len(place_map) - sum(len(alignment.poses) for alignment in aligned)
    places = place_map.positions[:count, :2]
    breaks = np.flatnonzero(np.diff(place_map.segment_starts[:count])) + 1
    before = [_shown(alignment, places) for alignment in aligned]
    after = [alignment.poses[:, :2] for alignment in aligned]
    top, content = 0.0, ''
    for title, lines in (('Before: odometry as it was recorded', before),
                         ('After: in the frame of the map', after)):
        drawn, height = _panel(places, breaks, aligned, lines)
        content += (f'<g transform="translate(0 {svg.num(top)})">'
                    + svg.text(18, 20, title, 'start') + drawn + '</g>')
        top += height
    legend = _legend(mapped, count)
    content += ''.join(
        (svg.polyline([(18, y - 4), (62, y - 4)], css) if css else '')
        + svg.text(72, y, shorten(words, _WIDEST, placeholder=' ...'), 'start')
        for y, (css, words) in zip(np.arange(top + _ROW, top + 1e6, _ROW).tolist()[:len(legend)],
                                   legend, strict=True))
    style = Markup('<style>') + resource('report.css') + Markup('</style>')
    return svg.drawing(_WIDTH, top + (len(legend) + 1) * _ROW, 'Sessions in one frame',
                       '; '.join(words for _, words in legend), style + Markup(content),
                       'xmlns="http://www.w3.org/2000/svg"') + '\n'


def _shown(alignment: Alignment, places: np.ndarray) -> np.ndarray:
    """Return where odometry is drawn, ``[N, 2]``: near the map, where its frame is far from it."""
    own = alignment.drive.poses[:, :2]
    size = float(np.ptp(np.concatenate([places, alignment.poses[:, :2]]), axis=0).max())
    apart = own.mean(axis=0) - places.mean(axis=0)
    return own if np.linalg.norm(apart) <= _FAR * size else own - own[0] + places[0]


def _panel(places: np.ndarray, breaks: np.ndarray, alignments: list[Alignment],
           lines: list[np.ndarray]) -> tuple[str, float]:
    """Draw the map, drives and their matches; return the drawing and its height."""
    found = [alignment.matches.poses[:, :2] for alignment in alignments]
    route = RouteMap(np.concatenate([places, *lines, *found]), None)
    content = ''.join(svg.polyline(svg.thin(part, 3000), 'mapped')
                      for part in np.split(route.points(places), breaks))
    marks = ''
    for number, (alignment, line, ends) in enumerate(zip(alignments, lines, found, strict=True)):
        points = route.points(line)
        gaps = np.flatnonzero(~alignment.drive.linked) + 1
        content += ''.join(svg.polyline(svg.thin(part, 3000), _style(number))
                           for part in np.split(points, gaps))
        starts, ends = points[alignment.matches.keyframes], route.points(ends)
        content += _matches(starts, ends, alignment.kept, 'match-kept')
        marks += _matches(starts, ends, ~alignment.kept, 'o-error')
        refused = starts[~alignment.kept][:_MOST_LINES]
        shapes = ''.join(svg.glyph('wrong', x, y, 3.2) for x, y in refused.tolist())
        marks += f'<path class="o-wrong" d="{shapes}"/>' if shapes else ''
    drawn = content + marks + route.scale_bar()
    return (f'<g transform="translate(0 {svg.num(_TITLE)})">{drawn}</g>', route.height + _TITLE)


def _matches(starts: np.ndarray, ends: np.ndarray, chosen: np.ndarray, css: str) -> str:
    """Draw lines from keyframes to where they were found."""
    rows = svg.thin(np.flatnonzero(chosen), _MOST_LINES)
    drawn = ''.join(f'M{svg.num(x)} {svg.num(y)}L{svg.num(to_x)} {svg.num(to_y)}'
                    for (x, y), (to_x, to_y) in zip(
                        starts[rows].tolist(), ends[rows].tolist(), strict=True))
    return f'<path class="{css}" d="{drawn}"/>' if drawn else ''


def _style(number: int) -> str:
    return f's-{number % _STYLES}'


def _legend(mapped: MappedSessions, places: int) -> list[tuple[str, str]]:
    """Return rows of the legend: class of the line, and words."""
    rows = [('mapped', f'the map that defines the frame: {places} places')]
    aligned = [(session, alignment) for session, alignment in zip(
        mapped.sessions, mapped.alignments, strict=True) if alignment is not None]
    for number, (session, alignment) in enumerate(aligned):
        along, across = alignment.rms_m()
        rows.append((_style(number), (
            f'{Path(session.recording.name).name}: {int(alignment.kept.sum())} of '
            f'{len(alignment.kept)} matches kept, RMS {along:.2f} m along and {across:.2f} m '
            'across')))
    rows += [('match-kept', 'from a keyframe to where it was found'),
             ('o-error', 'a match that was switched off')]
    return rows + [('', f'{Path(session.recording.name).name} was left out: {error}')
                   for session, error in mapped.left_out]
