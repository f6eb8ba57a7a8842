"""Draws what a camera sees in the town."""

import numpy as np

from seqnet_town.camera import Camera, PixelRays
from seqnet_town.conditions import Condition
from seqnet_town.light import Light
from seqnet_town.objects import CarPose, ObjectPainter
from seqnet_town.scene import View, look
from seqnet_town.sensor import Sensor
from seqnet_town.surfaces import SurfacePainter
from seqnet_town.world import Town


class Renderer:
    """Renders views of a town under one condition.

    Args:
        town: what to draw.
        camera: its intrinsics and mounting.
        condition: light, weather and season.
    """

    def __init__(self, town: Town, camera: Camera, condition: Condition) -> None:
        self.town = town
        self.camera = camera
        self.condition = condition
        self._rays = PixelRays(camera)
        light = Light(town, condition)
        self._surfaces = SurfacePainter(town, camera, self._rays, condition, light)
        self._objects = ObjectPainter(town, camera, self._rays, condition, light)
        self._sensor = Sensor(camera, self._rays, condition)

    def render(self, pose: np.ndarray, cars: list[CarPose], seed: tuple[int, ...] = (0,),
               exposure: float = 1.0) -> np.ndarray:
        """Return the view from a pose, RGB uint8 ``[H, W, 3]``.

        Args:
            pose: ``[x, y, z, qx, qy, qz, qw]`` of ``base_link``; only x, y and yaw are used.
            cars: the cars in the scene.
            seed: decides sensor noise and raindrops of this image.
            exposure: gain on the light that reaches the sensor.
        """
        scene = look(self.town, self.camera, self._rays, self._view(pose))
        image = self._surfaces.paint(scene)
        self._objects.paint(image, scene, cars)
        return self._sensor.expose(image, scene, np.random.default_rng(seed), exposure)

    def _view(self, pose: np.ndarray) -> View:
        yaw = 2 * np.arctan2(pose[5], pose[6]) + np.deg2rad(self.camera.yaw_deg)
        forward = np.array([np.cos(yaw), np.sin(yaw)])
        return View(np.asarray(pose[:2]), forward, np.array([-forward[1], forward[0]]))
