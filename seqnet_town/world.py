"""The town: its plan, its painted surfaces and the route through it."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_town.ground import Ground, paint_ground
from seqnet_town.layout import Plan, draw_plan, figure_eight
from seqnet_town.route import Route
from seqnet_town.textures import PROFILE, Texture, paint

_ATLAS_COLUMNS = 8192
_ATLAS_LEVELS = 6


@dataclass(frozen=True)
class Walls:
    """All walls of the town; seen from outside, ``start`` is left of ``end``.

    Attributes:
        start: ``[N, 2]`` meters.
        end: ``[N, 2]`` meters.
        normal: outward unit normals ``[N, 2]``.
        facade: index of the painted facade, ``[N]``.
    """

    start: np.ndarray
    end: np.ndarray
    normal: np.ndarray
    facade: np.ndarray


@dataclass(frozen=True)
class Atlas:
    """All facades in one image, each at several resolutions.

    Attributes:
        image: uint8 ``[H, W, 4]``, RGB and window rank.
        boxes: column, row, width and height of facade f at level l, float32 ``[F, L, 4]``.
        heights: meters covered by each facade's image, float32 ``[F]``.
        outlines: wall height along the width, float32 ``[F, PROFILE]``.
    """

    image: np.ndarray
    boxes: np.ndarray
    heights: np.ndarray
    outlines: np.ndarray


class Town:
    """A town that follows from its seed alone; nothing is painted before it is first seen.

    Args:
        seed: decides everything that stands in the town.
        blocks: columns and rows of blocks inside the route, at least (2, 1). (4, 2) gives a
            route of about 800 m.
    """

    def __init__(self, seed: int = 7, blocks: tuple[int, int] = (4, 2)) -> None:
        if blocks[0] < 2 or blocks[1] < 1:
            raise InputError(f'a town needs at least (2, 1) blocks, found {blocks}')
        self.seed = seed
        self.plan: Plan = draw_plan(np.random.default_rng(seed), blocks)
        self.route: Route = figure_eight(self.plan.nodes)

    @property
    def route_length(self) -> float:
        """Length of one lap, meters."""
        return self.route.length

    @cached_property
    def walls(self) -> Walls:
        """The walls of all buildings."""
        corners = np.stack([building.corners for building in self.plan.buildings])
        start = corners.reshape(-1, 2)
        end = np.roll(corners, -1, axis=1).reshape(-1, 2)
        along = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
        normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
        facade = np.array([building.facades for building in self.plan.buildings]).reshape(-1)
        return Walls(start, end, normal, facade)

    @cached_property
    def atlas(self) -> Atlas:
        """The painted facades."""
        return _pack([paint(facade) for facade in self.plan.facades])

    @cached_property
    def ground(self) -> Ground:
        """The painted ground."""
        return paint_ground(self.plan, self.seed)


def _pack(textures: list[Texture]) -> Atlas:
    pieces = [(index, level, piece) for index, texture in enumerate(textures)
              for level, piece in enumerate(_levels(texture.image))]
    pieces.sort(key=lambda item: -item[2].shape[0])
    boxes = np.zeros((len(textures), _ATLAS_LEVELS, 4), np.float32)
    column, row, shelf = 0, 0, pieces[0][2].shape[0]
    for index, level, piece in pieces:
        height, width = piece.shape[:2]
        if column + width > _ATLAS_COLUMNS:
            column, row, shelf = 0, row + shelf, height
        boxes[index, level] = column, row, width, height
        column += width
    image = np.zeros((row + shelf, _ATLAS_COLUMNS, 4), np.uint8)
    for index, level, piece in pieces:
        x, y, width, height = boxes[index, level].astype(int)
        image[y:y + height, x:x + width] = piece
    outlines = np.stack([texture.outline for texture in textures]).reshape(-1, PROFILE)
    heights = np.array([texture.height for texture in textures], np.float32)
    return Atlas(image, boxes, heights, outlines)


def _levels(image: np.ndarray) -> list[np.ndarray]:
    levels = [image]
    for _ in range(_ATLAS_LEVELS - 1):
        rows, columns = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (max(1, columns // 2), max(1, rows // 2)),
                                 interpolation=cv2.INTER_AREA))
    return levels
