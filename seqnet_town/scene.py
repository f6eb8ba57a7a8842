"""Surface seen by every pixel of a view.

Walls stand upright and the camera is level, so every image column sees each wall at one depth:
walls are cast per column, nearest first, and only what rises above the nearer ones is kept. That
gives every pixel exactly one wall, the ground or the sky.
"""

from dataclasses import dataclass

import numpy as np

from seqnet_town.camera import FAR, Camera, PixelRays
from seqnet_town.textures import PROFILE
from seqnet_town.world import Town

_LAYERS = 7
"""Walls that one column can show above each other."""
_VIEW_M = 160.0


@dataclass(frozen=True)
class View:
    """Camera pose: position ``[2]``, viewing direction and its left, ``[2]`` each."""

    position: np.ndarray
    forward: np.ndarray
    left: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Surfaces seen by the pixels.

    Attributes:
        view: from where.
        wall: walls per column, nearest first, ``[K, W]``.
        along: where on the wall, 0 to 1, ``[K, W]``.
        depth: how far, meters, ``[K, W]``.
        index: flat index of each pixel's wall in the three above, ``[H, W]``.
        sky: pixels of the sky, ``[H, W]``.
        ground: pixels of the ground that no object covers, ``[H, W]``.
        pixel_depth: meters, ``[H, W]``.
    """

    view: View
    wall: np.ndarray
    along: np.ndarray
    depth: np.ndarray
    index: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    pixel_depth: np.ndarray


def look(town: Town, camera: Camera, rays: PixelRays, view: View) -> Scene:
    """Find the surface behind every pixel."""
    walls, atlas = town.walls, town.atlas
    near = _nearby_walls(town, rays, view)
    hit, along = _intersect(town, rays, view, near)
    count = min(_LAYERS, len(near))
    order = np.argpartition(hit, count - 1, axis=0)[:count]
    order = np.take_along_axis(order, np.argsort(np.take_along_axis(hit, order, 0), 0), 0)
    depth = np.take_along_axis(hit, order, 0)
    along = np.clip(np.take_along_axis(along, order, 0), 0, 1)
    wall = near[order]
    top = atlas.outlines[walls.facade[wall], (along * (PROFILE - 1)).astype(int)]
    top_rise = (top - camera.mount_height) / depth
    top_rise[depth >= FAR] = -1e3
    # The layer of a pixel is the number of walls it looks over.
    rise = rays.rise[:, None]
    layer = np.zeros((camera.height, camera.width), np.uint8)
    for limit in np.maximum.accumulate(top_rise, axis=0):
        layer += rise > limit
    over_all = layer == count
    ground = (rise < -camera.mount_height / depth[0]) | (over_all & (rise < 0))
    sky = over_all & ~ground
    layer[over_all] = count - 1
    index = layer * np.intp(camera.width) + np.arange(camera.width)
    pixel_depth = depth.ravel()[index]
    pixel_depth[sky] = FAR
    np.copyto(pixel_depth, rays.ground_depth[:, None], where=ground)
    return Scene(view, wall, along, depth, index, sky, ground, pixel_depth)


def _nearby_walls(town: Town, rays: PixelRays, view: View) -> np.ndarray:
    """Return the walls that face the camera and reach into its view."""
    walls = town.walls
    start, end = walls.start - view.position, walls.end - view.position
    seen = np.einsum('ij,ij->i', walls.normal, start) < 0
    seen &= np.einsum('ij,ij->i', start, start) < _VIEW_M ** 2
    start_f, start_l = start @ view.forward, start @ view.left
    end_f, end_l = end @ view.forward, end @ view.left
    edge = rays.edge
    seen &= np.maximum(start_f, end_f) > 0
    seen &= ~((start_l > edge * start_f) & (end_l > edge * end_f))
    seen &= ~((start_l < -edge * start_f) & (end_l < -edge * end_f))
    found = np.flatnonzero(seen)
    return found if len(found) else np.zeros(1, int)


def _intersect(town: Town, rays: PixelRays, view: View, near: np.ndarray
               ) -> tuple[np.ndarray, np.ndarray]:
    """Return depth and position along the wall (0 to 1) per wall and column, ``[N, W]``."""
    walls = town.walls
    offset = (walls.start[near] - view.position).astype(np.float32)
    edge = (walls.end[near] - walls.start[near]).astype(np.float32)
    forward, left = view.forward.astype(np.float32), view.left.astype(np.float32)
    start_f, start_l = (offset @ forward)[:, None], (offset @ left)[:, None]
    edge_f, edge_l = (edge @ forward)[:, None], (edge @ left)[:, None]
    # In camera axes (forward, left) the ray of a column is (1, side).
    with np.errstate(divide='ignore', invalid='ignore'):
        scale = 1 / (edge_l - rays.side * edge_f)
        along = (rays.side * start_f - start_l) * scale
        depth = (start_f * edge_l - start_l * edge_f) * scale
        hit = (along >= 0) & (along <= 1) & (depth > 0.05)
    return np.where(hit, depth, np.float32(FAR)), np.where(hit, along, np.float32(0))
