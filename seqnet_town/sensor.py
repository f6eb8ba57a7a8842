"""Weather in front of the lens, and the sensor behind it."""

import cv2
import numpy as np

from seqnet_town.camera import Camera, PixelRays
from seqnet_town.conditions import Condition
from seqnet_town.scene import Scene

_NOISE_MARGIN = 64


class Sensor:
    """Rain, exposure, lens blur and noise."""

    def __init__(self, camera: Camera, rays: PixelRays, condition: Condition) -> None:
        self.camera = camera
        self.rays = rays
        self.condition = condition
        vignette = 1 - 0.2 * (rays.side[None] ** 2 + rays.rise[:, None] ** 2)
        self._vignette = cv2.merge([np.maximum(vignette, np.float32(0.2))] * 3)
        # One sheet of noise per camera; every image takes it from another place.
        shape = (camera.height + _NOISE_MARGIN, camera.width + _NOISE_MARGIN, 3)
        self._noise = np.random.default_rng(0).standard_normal(shape, np.float32)
        self._noise *= np.float32(condition.noise)

    def expose(self, image: np.ndarray, scene: Scene, rng: np.random.Generator, exposure: float
               ) -> np.ndarray:
        """Turn the light of a scene, float32 ``[H, W, 3]``, into an RGB uint8 image."""
        if self.condition.rain > 0:
            self._wet_road(image, scene, rng)
            self._streaks(image, rng)
        cv2.multiply(image, self._vignette, dst=image, scale=exposure)
        sigma = self.condition.blur * self.camera.width / 640
        if sigma > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        row, column = rng.integers(0, _NOISE_MARGIN, 2)
        noise = self._noise[row:row + image.shape[0], column:column + image.shape[1]]
        return cv2.add(image, noise, dtype=cv2.CV_8U)

    def _wet_road(self, image: np.ndarray, scene: Scene, rng: np.random.Generator) -> None:
        """Mirror what stands on the ground, each column about the foot of its first wall."""
        below = slice(self.rays.horizon, None)
        rows = np.arange(self.rays.horizon, self.camera.height, dtype=np.float32)[:, None]
        centre = (self.camera.height - 1) / 2
        foot = centre + self.camera.focal_length * self.camera.mount_height / scene.depth[0]
        map_y = np.clip(2 * foot - rows, 0, self.camera.height - 1).astype(np.float32)
        ripple = rng.normal(0, 0.004 * self.camera.width, (len(rows), 1)).astype(np.float32)
        map_x = np.arange(self.camera.width, dtype=np.float32) + ripple
        blurred = cv2.blur(image, (3, max(3, self.camera.height // 40)))
        mirror = cv2.remap(blurred, map_x, map_y, cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)
        grazing = np.exp(self.rays.rise[below, None] * 3.0)
        share = (0.6 * self.condition.rain * grazing * scene.ground[below]).astype(np.float32)
        image[below] += share[..., None] * (mirror - image[below])

    def _streaks(self, image: np.ndarray, rng: np.random.Generator) -> None:
        height, width = image.shape[:2]
        layer = np.zeros((height, width), np.uint8)
        slope = rng.normal(0.05, 0.02)
        for _ in range(int(260 * self.condition.rain)):
            x, y = rng.uniform(0, width), rng.uniform(-20, height)
            length = rng.uniform(0.02, 0.09) * height
            cv2.line(layer, (int(x), int(y)), (int(x + slope * length), int(y + length)),
                     int(rng.integers(20, 70)), 1, cv2.LINE_AA)
        image += cv2.GaussianBlur(layer, (3, 3), 0).astype(np.float32)[..., None]
