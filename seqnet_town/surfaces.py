"""Colors walls, ground and sky: each is sampled once for all its pixels."""

import cv2
import numpy as np

from seqnet_town.camera import Camera, PixelRays
from seqnet_town.conditions import Condition
from seqnet_town.ground import LEVELS, PIXELS_PER_METRE
from seqnet_town.light import PIXELS_PER_METRE as LIGHT_PIXELS_PER_METRE
from seqnet_town.light import Light
from seqnet_town.scene import Scene, View
from seqnet_town.sky import COLUMNS, ROWS, TOP, paint_sky
from seqnet_town.textures import PIXELS_PER_METRE as WALL_PIXELS_PER_METRE
from seqnet_town.world import Town

_WINDOW_LIGHT = np.array([255.0, 206.0, 134.0], np.float32)


class SurfacePainter:
    """Paints everything that does not move."""

    def __init__(self, town: Town, camera: Camera, rays: PixelRays, condition: Condition,
                 light: Light) -> None:
        self.town = town
        self.camera = camera
        self.rays = rays
        self.condition = condition
        self.light = light
        self._sky = paint_sky(town.seed, condition)

    def paint(self, scene: Scene) -> np.ndarray:
        """Return walls, ground and sky in light and haze, float32 RGB ``[H, W, 3]``."""
        image = self._draw_surfaces(scene)
        self._haze(image, scene.pixel_depth)
        self._draw_sky(image, scene)
        return image

    def _draw_surfaces(self, scene: Scene) -> np.ndarray:
        """Return walls and ground in the light that falls on them, float32 ``[H, W, 3]``."""
        texture, light = self._draw_walls(scene)
        rank = texture[..., 3]
        colours = np.ascontiguousarray(texture[..., :3])
        below = slice(self.rays.horizon, None)
        ground, ground_light = self._draw_ground(scene.view)
        mask = scene.ground[below].astype(np.uint8)
        cv2.copyTo(ground, mask, colours[below])
        cv2.copyTo(ground_light, mask, light[below])
        if self.condition.lamps > 0:
            beam = self.light.headlights(scene.pixel_depth, self.rays.side, self.rays.rise[:, None])
            light += cv2.merge([beam] * 3)
        image = cv2.multiply(colours, light, dtype=cv2.CV_32F)
        self._light_windows(image, colours, np.where(scene.ground, 0, rank))
        return image

    def _draw_walls(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Return colors and window ranks of the walls, and the light on them."""
        walls, atlas = self.town.walls, self.town.atlas
        facade, depth = walls.facade[scene.wall], scene.depth
        ray = scene.view.forward + self.rays.side[:, None] * scene.view.left
        slant = np.abs(np.einsum('kwi,wi->kw', walls.normal[scene.wall], ray))
        footprint = depth / self.camera.focal_length / np.sqrt(np.clip(slant, 0.02, None))
        level = np.log2(np.maximum(footprint * WALL_PIXELS_PER_METRE, 1e-3)) + 0.35
        level = np.clip(level, 0, atlas.boxes.shape[1] - 1).astype(int)
        column, row, width, height = np.moveaxis(atlas.boxes[facade, level], -1, 0)
        metres = atlas.heights[facade]
        scale = (height - 1) / metres
        top = row + (metres - self.camera.mount_height) * scale
        map_x = (column + scene.along * (width - 1)).ravel()[scene.index]
        map_y = top.ravel()[scene.index]
        map_y -= (depth * scale).ravel()[scene.index] * self.rays.rise[:, None]
        texture = cv2.remap(atlas.image, map_x, map_y, cv2.INTER_LINEAR)
        point = scene.view.position + depth[..., None] * ray
        light = (self.light.walls[scene.wall] + self.light.lamps_at(point)).astype(np.float32)
        return texture, np.take(light.reshape(-1, 3), scene.index, axis=0, mode='clip')

    def _draw_ground(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Return colors of the ground and the light on it, for the rows below the horizon."""
        ground = self.town.ground
        depth = self.rays.ground_depth[self.rays.horizon:, None]
        x = depth * (view.forward[0] + self.rays.side * view.left[0]) + (
            view.position[0] - ground.origin[0])
        y = depth * (view.forward[1] + self.rays.side * view.left[1]) + (
            view.position[1] - ground.origin[1])
        x, y = x.astype(np.float32), y.astype(np.float32)
        # Texels per pixel, between the fine lateral and the coarse forward one.
        footprint = depth[:, 0] ** 1.5 / np.sqrt(self.camera.mount_height)
        footprint = footprint / self.camera.focal_length * PIXELS_PER_METRE
        level = np.clip(np.log2(footprint) + 0.3, 0, LEVELS - 1).astype(int)
        column, row, width, height = ground.levels[level].T[:, :, None]
        scale = (PIXELS_PER_METRE / 2.0 ** level).astype(np.float32)[:, None]
        map_x = column + np.clip(x * scale, 0, width - 1)
        map_y = row + np.clip(y * scale, 0, height - 1)
        colours = cv2.remap(ground.image, map_x, map_y, cv2.INTER_LINEAR)
        light = cv2.remap(self.light.ground, x * LIGHT_PIXELS_PER_METRE, y * LIGHT_PIXELS_PER_METRE,
                          cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return colours, light * np.float32(1 - 0.35 * self.condition.rain)

    def _light_windows(self, image: np.ndarray, colours: np.ndarray, rank: np.ndarray) -> None:
        if self.condition.lit_windows <= 0:
            return
        threshold = 255 * (1 - self.condition.lit_windows)
        rows, columns = np.nonzero(rank > threshold)
        excess = rank[rows, columns].astype(np.float32) - threshold
        lit = np.clip(excess / 12, 0, 1)[:, None]
        power = (0.5 + 0.5 * excess / (255 - threshold))[:, None]
        glow = power * (_WINDOW_LIGHT * 0.5 + colours[rows, columns] * _WINDOW_LIGHT / 190)
        image[rows, columns] += lit * (glow - image[rows, columns])

    def _haze(self, image: np.ndarray, depth: np.ndarray) -> None:
        clear = np.exp(depth * np.float32(-1 / self.condition.haze_m))
        cv2.multiply(image, cv2.merge([clear] * 3), dst=image)
        veil = 1 - clear
        image += cv2.merge([veil * np.float32(tone) for tone in self.condition.sky_horizon])

    def _draw_sky(self, image: np.ndarray, scene: Scene) -> None:
        above = slice(0, self.rays.horizon)
        forward = scene.view.forward
        azimuth = np.arctan2(forward[1], forward[0]) + np.arctan(self.rays.side)
        map_x = np.mod(azimuth / (2 * np.pi), 1) * COLUMNS
        slope = self.rays.rise[above, None] / np.sqrt(1 + self.rays.side ** 2)
        map_y = np.clip((1 - slope / TOP) * (ROWS - 1), 0, ROWS - 1).astype(np.float32)
        map_x = np.broadcast_to(map_x.astype(np.float32), map_y.shape).copy()
        sky = cv2.remap(self._sky, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        cv2.copyTo(sky.astype(np.float32), scene.sky[above].astype(np.uint8), image[above])
