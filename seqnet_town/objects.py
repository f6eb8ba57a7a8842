"""Draws objects and cars in the streets over the surfaces, with a depth test."""

from dataclasses import dataclass

import cv2
import numpy as np

from seqnet_town.camera import Camera, PixelRays
from seqnet_town.cars import visible_faces
from seqnet_town.conditions import Condition, rgb
from seqnet_town.light import Light
from seqnet_town.scene import Scene, View
from seqnet_town.sprites import paint_sprites
from seqnet_town.world import Town

_VIEW_M = 90.0
_NEAR = 0.3
_LAMP_GLOW = np.array([255.0, 214.0, 143.0], np.float32)
_Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of the image; right and bottom are outside."""


@dataclass(frozen=True)
class CarPose:
    """A car in the scene: x, y (meters), heading (radians), its look, and whether it drives."""

    x: float
    y: float
    heading: float
    look: int
    lights: bool = False


class ObjectPainter:
    """Paints trees, lamps, signs, street furniture and cars."""

    def __init__(self, town: Town, camera: Camera, rays: PixelRays, condition: Condition,
                 light: Light) -> None:
        self.town = town
        self.camera = camera
        self.rays = rays
        self.condition = condition
        self.light = light
        self._haze = rgb(condition.sky_horizon)
        self._sprites = paint_sprites(town.seed, condition.season)
        self._prop_places = np.array([prop.position for prop in town.plan.props])

    def paint(self, image: np.ndarray, scene: Scene, cars: list[CarPose]) -> None:
        """Draw props and cars, far ones first."""
        offset = self._prop_places - scene.view.position
        ahead, left = offset @ scene.view.forward, offset @ scene.view.left
        edge = self.rays.edge
        near = (ahead > 0.8) & (ahead < _VIEW_M) & (np.abs(left) < edge * ahead + 4)
        queue = [(float(ahead[i]), 0, int(i)) for i in np.flatnonzero(near)]
        for i, car in enumerate(cars):
            offset = np.array([car.x, car.y]) - scene.view.position
            distance = float(offset @ scene.view.forward)
            if -2.5 < distance < _VIEW_M and abs(offset @ scene.view.left) < (
                    edge * max(distance, 0) + 4):
                queue.append((distance, 1, i))
        for distance, is_car, i in sorted(queue, reverse=True):
            if is_car:
                self._draw_car(image, scene, cars[i], distance)
            else:
                self._draw_prop(image, scene, i, distance, float(left[i]))

    def _draw_prop(self, image: np.ndarray, scene: Scene, index: int, distance: float,
                   left: float) -> None:
        prop = self.town.plan.props[index]
        sprite = self._sprites[prop.kind, prop.variant]
        scale = self.camera.focal_length / distance
        foot = (self.camera.width - 1) / 2 - left * scale
        base = (self.camera.height - 1) / 2 + self.camera.mount_height * scale
        width, height = sprite.width * prop.scale * scale, sprite.height * prop.scale * scale
        box = self._clip_box(foot - width / 2, base - height, foot + width / 2, base)
        if box is None or self._hidden(scene, box, distance):
            return
        left_edge, top_edge, right_edge, bottom_edge = box
        full = width / sprite.levels[0].shape[1]
        level = int(np.clip(np.log2(1 / full), 0, len(sprite.levels) - 1))
        picture = sprite.levels[level]
        zoom_x, zoom_y = width / picture.shape[1], height / picture.shape[0]
        matrix = np.array([[zoom_x, 0, foot - width / 2 - left_edge],
                           [0, zoom_y, base - height - top_edge]])
        patch = cv2.warpAffine(picture, matrix, (right_edge - left_edge, bottom_edge - top_edge))
        light = self.light.on_object(self._prop_places[index], distance, left)
        self._blend(image, scene, box, patch, distance, light)
        if prop.kind == 'lamp' and self.condition.lamps > 0:
            head = base - 5.1 * scale
            for side in (-0.45, 0.45):
                self._glow(image, scene, foot + side * scale, head, distance, 0.5, _LAMP_GLOW)

    def _draw_car(self, image: np.ndarray, scene: Scene, car: CarPose, distance: float) -> None:
        place = np.array([car.x, car.y])
        left = float((place - scene.view.position) @ scene.view.left)
        if self._car_hidden(scene, distance, left):
            return
        eye = np.array([*scene.view.position, self.camera.mount_height])
        faces = visible_faces(place, car.heading, car.look, eye)
        if not faces:  # the eye is inside
            return
        polygons = self._project(scene.view, [face.corners for face in faces])
        drawn = [(face, pixels) for face, pixels in zip(faces, polygons, strict=True)
                 if len(pixels) > 2]
        if not drawn:
            return
        everything = np.concatenate([pixels for _, pixels in drawn])
        box = self._clip_box(*everything.min(axis=0) - 1, *everything.max(axis=0) + 1)
        if box is None:
            return
        patch = np.zeros((box[3] - box[1], box[2] - box[0], 4), np.uint8)
        for face, pixels in drawn:
            # Four bits of subpixel position.
            polygon = ((pixels - box[:2]) * 16).astype(np.int32)
            cv2.fillPoly(patch, [polygon], (*face.colour.tolist(), 255), cv2.LINE_AA, 4)
        light = self.light.on_object(place, distance, left)
        self._blend(image, scene, box, patch, max(distance - 1.5, 0.3), light)
        if self.condition.lamps > 0 and car.lights:
            for face, pixels in drawn:
                if face.glow:
                    column, row = pixels.mean(axis=0)
                    self._glow(image, scene, column, row, max(distance - 2.2, 0.5), 0.3,
                               face.colour * 1.1)

    def _car_hidden(self, scene: Scene, distance: float, left: float) -> bool:
        """Tell whether a car is behind walls, before its surfaces are made."""
        if distance < 4:
            return False
        scale = self.camera.focal_length / distance
        middle = (self.camera.width - 1) / 2 - left * scale
        first, last = (int(np.clip(middle + side * 3 * scale, 0, self.camera.width - 1))
                       for side in (-1, 1))
        return bool(scene.depth[0, first:last + 1].max() < distance - 2.5)

    def _project(self, view: View, polygons: list[np.ndarray]) -> list[np.ndarray]:
        """Return the pixels ``[N, 2]`` of polygons ``[M, 3]``, without what is behind the eye."""
        corners = np.concatenate(polygons)
        offset = corners[:, :2] - view.position
        points = np.column_stack([offset @ view.forward, offset @ view.left,
                                  corners[:, 2] - self.camera.mount_height])
        counts = [len(polygon) for polygon in polygons]
        if points[:, 0].min() < _NEAR:
            parts = [_cut_near(part) for part in _split(points, counts)]
            points, counts = np.concatenate(parts), [len(part) for part in parts]
        centre = [(self.camera.width - 1) / 2, (self.camera.height - 1) / 2]
        pixels = centre - points[:, 1:] * (self.camera.focal_length / points[:, :1])
        return _split(pixels, counts)

    def _hidden(self, scene: Scene, box: _Box, distance: float) -> bool:
        """Tell whether walls cover a box, from every fourth pixel."""
        return bool(scene.pixel_depth[box[1]:box[3]:4, box[0]:box[2]:4].max() < distance)

    def _clip_box(self, left: float, top: float, right: float, bottom: float) -> _Box | None:
        box = (max(0, int(np.floor(left))), max(0, int(np.floor(top))),
               min(self.camera.width, int(np.ceil(right)) + 1),
               min(self.camera.height, int(np.ceil(bottom)) + 1))
        return box if box[0] < box[2] and box[1] < box[3] else None

    def _blend(self, image: np.ndarray, scene: Scene, box: _Box, patch: np.ndarray,
               distance: float, light: np.ndarray) -> None:
        """Lay a premultiplied RGBA patch over the image where nothing nearer is."""
        area = np.s_[box[1]:box[3], box[0]:box[2]]
        clear = float(np.exp(-distance / self.condition.haze_m))
        # One linear map of (r, g, b, opacity) to the color in this light and haze, and what
        # remains of the background.
        mix = np.zeros((3, 4), np.float32)
        mix[:, :3] = np.diag(light * clear)
        mix[:, 3] = (1 - clear) * self._haze / 255
        patch = np.where((scene.pixel_depth[area] > distance)[..., None], patch, np.uint8(0))
        colour = cv2.transform(patch.astype(np.float32), mix)
        scene.ground[area] &= patch[..., 3] < 128
        remains = 1 - patch[..., 3] * np.float32(1 / 255)
        image[area] = cv2.add(cv2.multiply(image[area], cv2.merge([remains] * 3)), colour)

    def _glow(self, image: np.ndarray, scene: Scene, column: float, row: float, distance: float,
              size: float, colour: np.ndarray) -> None:
        """Add the halo of a lamp of this size in meters."""
        sigma = max(1.0, size * self.camera.focal_length / distance * 0.5)
        box = self._clip_box(column - 3 * sigma, row - 3 * sigma, column + 3 * sigma,
                             row + 3 * sigma)
        inside = 0 <= column < self.camera.width and 0 <= row < self.camera.height
        if box is None or not inside or scene.pixel_depth[int(row), int(column)] < distance:
            return
        x = np.exp(-((np.arange(box[0], box[2]) - column) / sigma) ** 2 / 2)
        y = np.exp(-((np.arange(box[1], box[3]) - row) / sigma) ** 2 / 2)
        halo = (y[:, None] * x[None]).astype(np.float32) * self.condition.lamps
        image[box[1]:box[3], box[0]:box[2]] += halo[..., None] * colour.astype(np.float32)


def _cut_near(points: np.ndarray) -> np.ndarray:
    """Cut a polygon (forward, left, up) ``[N, 3]`` at the near plane."""
    kept = []
    for point, following in zip(points, np.roll(points, -1, axis=0), strict=True):
        if point[0] >= _NEAR:
            kept.append(point)
        if (point[0] >= _NEAR) != (following[0] >= _NEAR):
            share = (_NEAR - point[0]) / (following[0] - point[0])
            kept.append(point + share * (following - point))
    return np.array(kept).reshape(-1, 3)


def _split(rows: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    ends = np.cumsum(counts)
    return [rows[end - count:end] for count, end in zip(counts, ends, strict=True)]
