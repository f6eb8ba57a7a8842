"""Cars as shaded prisms: an outline from the side, swept over the width of the car."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_WIDTH = 1.75
_COLOURS = ((186, 188, 190), (32, 34, 38), (120, 124, 130), (226, 226, 222), (150, 28, 30),
            (30, 62, 118), (60, 84, 62), (198, 160, 60), (92, 58, 44))
_GLASS = (44, 54, 64)
_INSIDE = np.array([0, 0, 0.6])
# Points (x, z) from the rear bumper over the roof to the front bumper, each with the kind of the
# surface that follows.
_SHAPES = (
    ((-2.1, .3, 'rear'), (-2.12, .85, 'body'), (-1.95, .95, 'glass'), (-1.55, 1.42, 'body'),
     (0.3, 1.45, 'glass'), (1.05, .98, 'body'), (2.0, .8, 'front'), (2.1, .3, 'body')),
    ((-2.3, .3, 'rear'), (-2.3, .9, 'body'), (-1.6, .98, 'glass'), (-1.0, 1.38, 'body'),
     (0.3, 1.4, 'glass'), (1.05, .95, 'body'), (2.1, .78, 'front'), (2.2, .3, 'body')),
    ((-2.4, .35, 'rear'), (-2.4, 1.1, 'glass'), (-2.35, 2.0, 'body'), (1.2, 2.05, 'glass'),
     (1.9, 1.15, 'body'), (2.3, 1.0, 'front'), (2.35, .35, 'body')),
)
LOOKS = len(_SHAPES) * len(_COLOURS)


class Face(NamedTuple):
    """A flat polygon ``[N, 3]`` with its RGB color; ``glow`` marks lamps."""

    corners: np.ndarray
    colour: np.ndarray
    glow: bool = False


class _Surface(NamedTuple):
    """A surface and what is painted on it; seen from where ``normal @ eye > offset``."""

    faces: tuple[Face, ...]
    middle: np.ndarray
    normal: np.ndarray
    offset: float


def visible_faces(position: np.ndarray, heading: float, look: int, eye: np.ndarray) -> list[Face]:
    """Return the faces of a car that the eye sees, in the order to paint them.

    Args:
        position: middle of the car on the ground, ``[2]`` meters.
        heading: radians.
        look: shape and paint, 0 to ``LOOKS`` - 1.
        eye: position of the camera, ``[3]`` meters.
    """
    cos, sin = np.cos(heading), np.sin(heading)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    offset = np.array([*position, 0])
    # Seen from the car's own axes, so that shapes need not be turned before they are culled.
    viewer = turn @ (eye - offset)
    seen = [surface for surface in _surfaces(look) if surface.normal @ viewer > surface.offset]
    seen.sort(key=lambda surface: -float(np.sum((surface.middle - viewer) ** 2)))
    return [Face(face.corners @ turn + offset, face.colour, face.glow)
            for surface in seen for face in surface.faces]


@lru_cache(maxsize=LOOKS)
def _surfaces(look: int) -> list[_Surface]:
    """Return the surfaces of a car in its own axes: x forward, y left, z up."""
    outline = _SHAPES[look % len(_SHAPES)]
    paint = np.array(_COLOURS[look // len(_SHAPES) % len(_COLOURS)], np.float64)
    points = np.array([(x, z) for x, z, _ in outline])
    half = np.where(points[:, 1] > 1.2, 0.72, _WIDTH / 2)  # the cabin leans inwards
    left = np.column_stack([points[:, 0], half, points[:, 1]])
    right = left * [1, -1, 1]
    surfaces = [_surface(Face(side, paint * 0.8), *_side_details(side)) for side in (left, right)]
    for i, (_, _, kind) in enumerate(outline[:-1]):
        strip = np.stack([left[i], right[i], right[i + 1], left[i + 1]])
        gain = {'rear': 0.85, 'front': 0.9}.get(kind, 1.1)
        face = Face(strip, np.array(_GLASS) if kind == 'glass' else np.minimum(paint * gain, 255))
        details = _lights(strip, kind) if kind in ('rear', 'front') else []
        surfaces.append(_surface(face, *details))
    return surfaces


def _surface(face: Face, *details: Face) -> _Surface:
    normal = np.cross(face.corners, np.roll(face.corners, -1, axis=0)).sum(axis=0)
    middle = face.corners.mean(axis=0)
    if normal @ (middle - _INSIDE) < 0:
        normal = -normal
    return _Surface((face, *details), middle, normal, float(normal @ middle))


def _side_details(side: np.ndarray) -> list[Face]:
    cabin = np.flatnonzero(side[:, 2] > 1.2)
    pane = side[[cabin[0] - 1, *cabin, cabin[-1] + 1]]
    middle = pane.mean(axis=0)
    parts = [Face(middle + (pane - middle) * [0.84, 1, 0.7], np.array(_GLASS))]
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    for axle in (-1.3, 1.35):
        for radius, tone in ((0.34, 24), (0.18, 110)):
            wheel = np.column_stack([axle + radius * np.cos(angles), np.full(12, side[0, 1]),
                                     0.34 + radius * np.sin(angles)])
            parts.append(Face(wheel, np.full(3, tone)))
    return parts


def _lights(strip: np.ndarray, kind: str) -> list[Face]:
    lower_left, lower_right, upper_right, upper_left = (
        strip if kind == 'rear' else strip[[3, 2, 1, 0]])
    colour = np.array((190, 24, 20) if kind == 'rear' else (240, 238, 220))

    def patch(u0: float, u1: float, v0: float, v1: float) -> np.ndarray:
        return np.array([(1 - v) * ((1 - u) * lower_left + u * lower_right)
                         + v * ((1 - u) * upper_left + u * upper_right)
                         for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))])

    return [Face(patch(0.04, 0.22, 0.6, 0.92), colour, glow=True),
            Face(patch(0.78, 0.96, 0.6, 0.92), colour, glow=True),
            Face(patch(0.36, 0.64, 0.3, 0.55), np.array((220, 220, 210)))]
