"""The ground seen from above: asphalt, markings, sidewalks and yards."""

from dataclasses import dataclass

import cv2
import numpy as np

from seqnet_town.layout import BUILDING_LINE, KERB, Plan, inset
from seqnet_town.textures import smooth_noise

PIXELS_PER_METRE = 14.0
LEVELS = 5


@dataclass(frozen=True)
class Ground:
    """A raster of the ground: pixel = (meters - origin) * ``PIXELS_PER_METRE``, y downwards.

    Attributes:
        image: uint8 RGB; the full raster on the left, ever smaller copies on the right.
        levels: column, row, width and height of each copy in ``image``, ``[LEVELS, 4]``.
        origin: x and y of the first pixel, meters.
        extent: width and height, meters.
    """

    image: np.ndarray
    levels: np.ndarray
    origin: np.ndarray
    extent: np.ndarray


def paint_ground(plan: Plan, seed: int) -> Ground:
    """Paint the raster of a plan; the same plan and seed always give the same pixels."""
    rng = np.random.default_rng([seed, 1])
    points = plan.nodes.reshape(-1, 2)
    origin = points.min(axis=0) - 10
    extent = points.max(axis=0) + 10 - origin
    columns, rows = np.ceil(extent * PIXELS_PER_METRE).astype(int)
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = (96, 96, 98)
    painter = _Painter(rng, image, origin)
    painter.asphalt()
    for i, j in np.ndindex(plan.nodes.shape[0] - 1, plan.nodes.shape[1]):
        painter.markings(plan.nodes[i, j], plan.nodes[i + 1, j])
    for i, j in np.ndindex(plan.nodes.shape[0], plan.nodes.shape[1] - 1):
        painter.markings(plan.nodes[i, j], plan.nodes[i, j + 1])
    for block in plan.blocks:
        painter.block(block)
    painter.grain()
    return _with_levels(image, origin, extent)


def _with_levels(image: np.ndarray, origin: np.ndarray, extent: np.ndarray) -> Ground:
    rows, columns = image.shape[:2]
    mosaic = np.zeros((rows, columns + columns // 2 + 1, 3), np.uint8)
    mosaic[:, :columns] = image
    levels, row = [(0, 0, columns, rows)], 0
    for _ in range(LEVELS - 1):
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2),
                           interpolation=cv2.INTER_AREA)
        mosaic[row:row + image.shape[0], columns:columns + image.shape[1]] = image
        levels.append((columns, row, image.shape[1], image.shape[0]))
        row += image.shape[0]
    return Ground(mosaic, np.array(levels, np.float32), origin, extent)


class _Painter:
    """Paints in meters on the raster."""

    def __init__(self, rng: np.random.Generator, image: np.ndarray, origin: np.ndarray) -> None:
        self.rng = rng
        self.image = image
        self.origin = origin

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        return np.round((points - self.origin) * PIXELS_PER_METRE).astype(np.int32)

    def _fill(self, points: np.ndarray, colour: tuple[float, ...]) -> None:
        cv2.fillPoly(self.image, [self._pixels(points)], colour, cv2.LINE_AA)

    def _strip(self, start: np.ndarray, end: np.ndarray, width: float,
               colour: tuple[float, ...]) -> None:
        along = (end - start) / np.linalg.norm(end - start)
        half = width / 2 * np.array([-along[1], along[0]])
        self._fill(np.stack([start + half, end + half, end - half, start - half]), colour)

    def asphalt(self) -> None:
        """Patches, stains and manhole covers."""
        size = np.array(self.image.shape[1::-1]) / PIXELS_PER_METRE
        for _ in range(int(size.prod() / 60)):
            start = self.origin + self.rng.uniform(0, 1, 2) * size
            angle = self.rng.uniform(0, 2 * np.pi)
            end = start + self.rng.uniform(0.6, 5) * np.array([np.cos(angle), np.sin(angle)])
            tone = 97 + self.rng.normal(0, 13)
            self._strip(start, end, self.rng.uniform(0.1, 2.0), (tone, tone, tone + 2))
        for _ in range(int(size.prod() / 250)):
            spot = self._pixels(self.origin + self.rng.uniform(0, 1, 2) * size)
            centre = tuple(spot.tolist())
            cv2.circle(self.image, centre, 5, (62, 62, 62), -1, cv2.LINE_AA)
            cv2.circle(self.image, centre, 4, (84, 82, 78), 1, cv2.LINE_AA)

    def markings(self, start: np.ndarray, end: np.ndarray) -> None:
        """Center line, stop lines, parking lines and crosswalks of one street."""
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length
        side = np.array([-along[1], along[0]])
        paint = (206, 206, 200)
        dash = float(self.rng.choice([1.5, 3.0]))
        for at in np.arange(10, length - 10 - dash, dash * 2.2):
            self._strip(start + at * along, start + (at + dash) * along, 0.14, paint)
        for edge in (-3.2, 3.2):
            for at in np.arange(10, length - 10, 5.8):
                spot = start + at * along + edge * side
                self._strip(spot, spot + np.sign(edge) * 2.0 * side, 0.1, (170, 170, 166))
        for end_point, inward in ((start, along), (end, -along)):
            if self.rng.random() < 0.55:
                for lateral in np.arange(-KERB + 0.5, KERB - 0.4, 1.0):
                    spot = end_point + 6.3 * inward + lateral * side
                    self._strip(spot, spot + 2.8 * inward, 0.5, (216, 216, 212))
            else:
                spot = end_point + 7.5 * inward
                self._strip(spot, spot + 3.2 * np.cross([0, 0, 1], [*inward, 0])[:2], 0.4, paint)

    def block(self, block: np.ndarray) -> None:
        """Sidewalk with curb, and yards behind the houses."""
        tone = 150 + self.rng.normal(0, 8)
        warm = self.rng.normal(0, 5)
        self._fill(_rounded(inset(block, KERB), 2.5), (186, 184, 178))
        self._fill(_rounded(inset(block, KERB + 0.22), 2.4), (tone + warm, tone, tone - warm))
        spacing = float(self.rng.choice([0.6, 0.9, 1.5]))
        for distance in np.arange(KERB + 0.6, BUILDING_LINE + 1, spacing):
            cv2.polylines(self.image, [self._pixels(inset(block, distance))], True,
                          (tone - 24,) * 3, 1, cv2.LINE_AA)
        outer, inner = inset(block, KERB + 0.3), inset(block, BUILDING_LINE + 1)
        for k in range(4):
            count = int(np.linalg.norm(outer[(k + 1) % 4] - outer[k]) / spacing)
            for f in np.linspace(0, 1, count + 1):
                ends = [side[k] + f * (side[(k + 1) % 4] - side[k]) for side in (outer, inner)]
                cv2.polylines(self.image, [self._pixels(np.array(ends))], False,
                              (tone - 20,) * 3, 1, cv2.LINE_AA)
        yard = (92, 112, 66) if self.rng.random() < 0.6 else (132, 126, 114)
        self._fill(inset(block, BUILDING_LINE + 1.3), yard)

    def grain(self) -> None:
        """Add the texture that makes a surface look rough."""
        shape = self.image.shape[:2]
        tone = 3.5 * smooth_noise(self.rng, shape, 40) + 2 * smooth_noise(self.rng, shape, 3)
        tone += self.rng.standard_normal(shape, np.float32) * 7
        for channel in range(3):
            plane = self.image[..., channel]
            plane[:] = np.clip(plane + tone, 0, 255)


def _rounded(polygon: np.ndarray, radius: float) -> np.ndarray:
    """Cut the corners of a polygon along quadratic curves."""
    before = np.roll(polygon, 1, axis=0) - polygon
    after = np.roll(polygon, -1, axis=0) - polygon
    before *= radius / np.linalg.norm(before, axis=1, keepdims=True)
    after *= radius / np.linalg.norm(after, axis=1, keepdims=True)
    t = np.linspace(0, 1, 6)[None, :, None]
    curve = polygon[:, None] + (1 - t) ** 2 * before[:, None] + t ** 2 * after[:, None]
    return curve.reshape(-1, 2)
