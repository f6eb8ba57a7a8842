"""The light of one condition: sun and shadows, sky, street lamps and the robot's headlights."""

import cv2
import numpy as np

from seqnet_town.conditions import Condition, rgb
from seqnet_town.layout import Plan
from seqnet_town.world import Town

PIXELS_PER_METRE = 4.0
_HOUSE_SHADOW_M = 11.0
_LAMP_REACH_M = 4.0
_LAMP_COLOUR = np.array([1.0, 0.78, 0.48], np.float32)


class Light:
    """RGB gains on surface colors, everywhere in a town.

    Attributes:
        ground: light on the ground, float32 RGB on a raster of ``PIXELS_PER_METRE`` that starts
            at the origin of the town's ground.
        walls: light of sky and sun on every wall of the town, float32 ``[N, 3]``.
    """

    def __init__(self, town: Town, condition: Condition) -> None:
        self._origin = town.ground.origin
        self._lamps = condition.lamps
        self._ambient = rgb(condition.ambient)
        shape = tuple(np.ceil(town.ground.extent[::-1] * PIXELS_PER_METRE).astype(int))
        self.ground = np.empty((*shape, 3), np.float32)
        self.ground[:] = self._ambient
        if any(condition.sun):
            lift = np.float32(np.sin(np.deg2rad(condition.sun_elevation_deg)) + 0.2)
            shade = _shadows(town.plan, condition, self._origin, shape)
            self.ground += (1 - shade)[..., None] * rgb(condition.sun) * lift
        if condition.lamps > 0:
            pools = _lamp_pools(town.plan, self._origin, shape)
            self.ground += np.float32(1.05 * condition.lamps) * pools[..., None] * _LAMP_COLOUR
        slant = np.cos(np.deg2rad(condition.sun_elevation_deg))
        facing = np.clip(town.walls.normal @ _towards_sun(condition), 0, None) * slant
        self.walls = (0.92 * self._ambient + facing[:, None] * rgb(condition.sun)
                      ).astype(np.float32)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the light on the ground at points ``[..., 2]``: ``[..., 3]``."""
        pixels = ((points - self._origin) * PIXELS_PER_METRE).astype(int)
        pixels = np.clip(pixels, 0, np.array(self.ground.shape[1::-1]) - 1)
        return self.ground[pixels[..., 1], pixels[..., 0]]

    def lamps_at(self, points: np.ndarray) -> np.ndarray:
        """Return the part of street lamps at points ``[..., 2]``: ``[..., 3]``."""
        if self._lamps <= 0:
            return np.zeros(3, np.float32)
        return (self.at(points) - self._ambient) * np.float32(0.65 * self._lamps)

    def on_object(self, point: np.ndarray, distance: float, left: float) -> np.ndarray:
        """Return the light on something small that stands ahead of the camera, ``[3]``."""
        ahead = max(distance, 1.0)
        beam = self.headlights(np.array(ahead), np.array(left / ahead), np.array(-0.75 / ahead))
        return self.at(point) + 0.12 * self._ambient + beam

    def headlights(self, depth: np.ndarray, side: np.ndarray, rise: np.ndarray) -> np.ndarray:
        """Return what the robot's own lights add at a depth (meters) and direction (tangents)."""
        beam = np.exp(-(side * 1.7) ** 2) * np.exp(-(rise * 4) ** 2)
        return np.float32(1.1 * self._lamps ** 2) * beam / (1 + (depth / np.float32(14)) ** 2)


def _towards_sun(condition: Condition) -> np.ndarray:
    azimuth = np.deg2rad(condition.sun_azimuth_deg)
    return np.array([np.cos(azimuth), np.sin(azimuth)])


def _shadows(plan: Plan, condition: Condition, origin: np.ndarray, shape: tuple[int, ...]
             ) -> np.ndarray:
    """Return the share of sunlight that houses and trees keep from the ground, ``[H, W]``."""
    shadow = np.zeros(shape, np.uint8)
    reach = min(1 / np.tan(np.deg2rad(condition.sun_elevation_deg)), 4.0)
    away = -reach * _towards_sun(condition)
    for building in plan.buildings:
        height = _HOUSE_SHADOW_M if plan.facades[building.facades[0]].floors else 1.5
        outline = np.vstack([building.corners, building.corners + height * away])
        pixels = ((outline - origin) * PIXELS_PER_METRE).astype(np.int32)
        cv2.fillConvexPoly(shadow, cv2.convexHull(pixels), 255)
    for prop in plan.props:
        if prop.kind == 'tree':
            crown = np.array(prop.position) + 4.5 * prop.scale * away
            centre = ((crown - origin) * PIXELS_PER_METRE).astype(int)
            cv2.circle(shadow, tuple(centre.tolist()),
                       round(2.2 * prop.scale * PIXELS_PER_METRE), 200, -1)
    return cv2.GaussianBlur(shadow, (0, 0), 1.5).astype(np.float32) / 255


def _lamp_pools(plan: Plan, origin: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the light around street lamps, 1 below each, ``[H, W]``."""
    lamps = np.zeros(shape, np.float32)
    for prop in plan.props:
        column, row = ((np.array(prop.position) - origin) * PIXELS_PER_METRE).astype(int)
        if prop.kind == 'lamp' and 0 <= row < shape[0] and 0 <= column < shape[1]:
            lamps[row, column] = 1
    sigma = _LAMP_REACH_M * PIXELS_PER_METRE
    return cv2.GaussianBlur(lamps, (0, 0), sigma) * np.float32(2 * np.pi * sigma ** 2)
