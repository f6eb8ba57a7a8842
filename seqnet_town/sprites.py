"""Flat pictures of trees, lamps, signs and street furniture that always face the camera."""

from dataclasses import dataclass

import cv2
import numpy as np

from seqnet_town.textures import VIVID, smooth_noise

PIXELS_PER_METRE = 40.0


@dataclass(frozen=True)
class Sprite:
    """A cut-out picture standing on the ground.

    Attributes:
        levels: uint8 ``[H, W, 4]``, premultiplied RGB and opacity; each half the size of the one
            before.
        width: meters.
        height: meters.
    """

    levels: tuple[np.ndarray, ...]
    width: float
    height: float


def paint_sprites(seed: int, season: str) -> dict[tuple[str, int], Sprite]:
    """Paint every kind and variant of prop; only the trees change with the season."""
    sprites = {}
    for kind, count, painter in (('lamp', 1, _lamp), ('sign', 10, _sign),
                                 ('furniture', 6, _furniture)):
        for variant in range(count):
            sprites[kind, variant] = painter(variant)
    for variant in range(8):
        rng = np.random.default_rng([seed, variant])
        sprites['tree', variant] = _tree(rng, variant, season)
    return sprites


def _blank(width: float, height: float) -> np.ndarray:
    return np.zeros((round(height * PIXELS_PER_METRE), round(width * PIXELS_PER_METRE), 4),
                    np.uint8)


def _finish(image: np.ndarray) -> Sprite:
    """Build the pyramid. Drawn on transparent black, colors are already premultiplied."""
    levels = [image]
    while min(levels[-1].shape[:2]) > 4:
        shape = levels[-1].shape
        levels.append(cv2.resize(levels[-1], (max(1, shape[1] // 2), max(1, shape[0] // 2)),
                                 interpolation=cv2.INTER_AREA))
    return Sprite(tuple(levels), image.shape[1] / PIXELS_PER_METRE,
                  image.shape[0] / PIXELS_PER_METRE)


def _rect(image: np.ndarray, x0: float, z0: float, x1: float, z1: float,
          colour: tuple[float, ...]) -> None:
    height = image.shape[0]
    a = (round(x0 * PIXELS_PER_METRE), height - round(z1 * PIXELS_PER_METRE))
    b = (round(x1 * PIXELS_PER_METRE), height - round(z0 * PIXELS_PER_METRE))
    cv2.rectangle(image, a, b, (*colour, 255), -1)


def _lamp(_variant: int) -> Sprite:
    image = _blank(1.6, 5.6)
    steel = (62, 66, 70)
    _rect(image, 0.74, 0, 0.86, 5.3, steel)
    _rect(image, 0.68, 0, 0.92, 0.8, (50, 54, 58))
    _rect(image, 0.3, 5.2, 1.3, 5.3, steel)
    for x in (0.2, 1.1):
        _rect(image, x, 5.02, x + 0.3, 5.22, (236, 226, 190))
        _rect(image, x - 0.04, 5.2, x + 0.34, 5.3, steel)
    return _finish(image)


def _sign(variant: int) -> Sprite:
    image = _blank(1.0, 3.0)
    _rect(image, 0.47, 0, 0.54, 2.6, (140, 142, 144))
    centre, radius = (20, 24), 16
    red, blue, white, black = (190, 30, 34, 255), (24, 70, 150, 255), (240, 240, 238, 255), (
        20, 20, 20, 255)
    triangle = np.array([[20, 6], [38, 38], [2, 38]], np.int32)
    if variant in (0, 1, 2):
        cv2.circle(image, centre, radius, red, -1, cv2.LINE_AA)
        cv2.circle(image, centre, radius - 4, white, -1, cv2.LINE_AA)
        cv2.putText(image, ('30', '50', '')[variant], (9, 29), cv2.FONT_HERSHEY_SIMPLEX, 0.55,
                    black, 2, cv2.LINE_AA)
    elif variant in (3, 4):
        cv2.circle(image, centre, radius, blue, -1, cv2.LINE_AA)
        cv2.arrowedLine(image, (20, 34), ((20, 12), (30, 16))[variant - 3], white, 3, cv2.LINE_AA,
                        tipLength=0.5)
    elif variant in (5, 6):
        points = triangle if variant == 5 else 44 - triangle
        cv2.fillPoly(image, [points], red, cv2.LINE_AA)
        inner = (points - points.mean(0)) * 0.6 + points.mean(0)
        cv2.fillPoly(image, [inner.astype(np.int32)], white, cv2.LINE_AA)
    elif variant == 7:
        _rect(image, 0.1, 1.9, 0.9, 2.8, blue[:3])
        cv2.putText(image, 'P', (10, 36), cv2.FONT_HERSHEY_DUPLEX, 1.0, white, 2, cv2.LINE_AA)
    elif variant == 8:
        _rect(image, 0.05, 2.3, 0.95, 2.8, (236, 200, 40))
        cv2.putText(image, 'BUS', (5, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, black, 2, cv2.LINE_AA)
    else:
        cv2.fillPoly(image, [np.array([[20, 4], [37, 21], [20, 38], [3, 21]], np.int32)], white)
        cv2.fillPoly(image, [np.array([[20, 9], [32, 21], [20, 33], [8, 21]], np.int32)],
                     (232, 180, 32, 255))
    return _finish(image)


def _furniture(variant: int) -> Sprite:
    image = _blank(2.0, 3.0)
    if variant == 0:
        _rect(image, 0.4, 0, 1.6, 2.6, (70, 96, 80))
        for z, x, colour in ((0.6, 0.5, 0), (0.6, 1.05, 3), (1.6, 0.5, 1), (1.6, 1.05, 6)):
            _rect(image, x, z, x + 0.45, z + 0.8, VIVID[colour])
        _rect(image, 0.3, 2.6, 1.7, 2.75, (48, 66, 56))
    elif variant == 1:
        _rect(image, 0.75, 0.3, 1.25, 1.3, (226, 180, 24))
        _rect(image, 0.8, 1.05, 1.2, 1.12, (30, 30, 30))
        _rect(image, 0.85, 0, 1.15, 0.3, (60, 60, 60))
    elif variant == 2:
        _rect(image, 0.2, 0, 1.8, 0.9, (96, 98, 96))
        _rect(image, 0.25, 0.1, 1.75, 0.85, (120, 124, 118))
    elif variant == 3:
        _rect(image, 0.7, 0, 1.3, 1.0, (46, 78, 58))
        _rect(image, 0.65, 0.9, 1.35, 1.05, (36, 60, 46))
    elif variant == 4:
        _rect(image, 0.1, 0, 1.9, 2.4, (130, 150, 160))
        _rect(image, 0.2, 0.2, 1.8, 2.2, (176, 190, 196))
        _rect(image, 0.3, 0.5, 1.0, 2.0, VIVID[0])
        _rect(image, 0.0, 2.4, 2.0, 2.55, (50, 54, 58))
    else:
        _rect(image, 0.5, 0, 1.5, 2.4, (168, 30, 32))
        _rect(image, 0.62, 0.4, 1.38, 2.0, (120, 140, 150))
        _rect(image, 0.98, 0.4, 1.02, 2.0, (168, 30, 32))
    return _finish(image)


def _tree(rng: np.random.Generator, variant: int, season: str) -> Sprite:
    width, height = 5.6, float(rng.uniform(6.4, 8.0))
    image = _blank(width, height)
    rows, columns = image.shape[:2]
    root = np.array([columns / 2, rows - 1])
    bark = np.array([74, 60, 48]) + rng.normal(0, 8, 3)
    _branch(rng, image, root, -np.pi / 2 + rng.normal(0, 0.04), height * 0.33, 0.2, bark)
    conifer = variant == 7
    if season != 'winter' or conifer:
        _crown(rng, image, conifer, season)
    noise = 1 + 0.15 * smooth_noise(rng, (rows, columns), 3)[..., None]
    image[..., :3] = np.clip(image[..., :3] * noise, 0, 255)
    return _finish(image)


def _branch(rng: np.random.Generator, image: np.ndarray, start: np.ndarray, angle: float,
            length: float, width: float, bark: np.ndarray) -> None:
    end = start + length * PIXELS_PER_METRE * np.array([np.cos(angle), np.sin(angle)])
    cv2.line(image, tuple(np.round(start).astype(int).tolist()),
             tuple(np.round(end).astype(int).tolist()), (*bark, 255),
             max(1, round(width * PIXELS_PER_METRE)), cv2.LINE_AA)
    if length > 0.35:
        for turn in (-0.45, 0.05, 0.5):
            _branch(rng, image, end, angle + turn + rng.normal(0, 0.18),
                    length * rng.uniform(0.52, 0.7), width * 0.6, bark)


def _crown(rng: np.random.Generator, image: np.ndarray, conifer: bool, season: str) -> None:
    rows, columns = image.shape[:2]
    leaf = np.array([66, 104, 46]) + rng.normal(0, 10, 3)
    count = 1500
    if season == 'autumn' and not conifer:
        leaf = np.array([(196, 126, 38), (178, 76, 34), (202, 170, 60)][int(rng.integers(3))])
        count = 700
    if conifer:
        leaf = np.array([40, 72, 52])
    # Clumps of leaves, each lit from above; the crown as a whole too.
    clumps = rng.uniform(-0.62, 0.62, (9, 2))
    for _ in range(count):
        clump = clumps[int(rng.integers(len(clumps)))]
        radius, angle = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        lift = np.sin(angle) * radius
        u, v = clump + 0.36 * radius * np.array([np.cos(angle), np.sin(angle)])
        if conifer:
            v = rng.uniform(-1, 0.9)
            u *= 0.5 * (v + 1)
        centre = (round(columns * (0.5 + 0.48 * u)), round(rows * (0.36 + 0.33 * v)))
        gain = 0.82 - 0.22 * v - 0.25 * lift + rng.normal(0, 0.13)
        size = int(rng.integers(1, 7))
        cv2.circle(image, centre, size, (*np.clip(leaf * gain, 0, 255), 255), -1, cv2.LINE_AA)
