"""The panorama behind the town: sky, clouds, hills and far landmarks."""

import cv2
import numpy as np

from seqnet_town.conditions import Condition, rgb
from seqnet_town.textures import smooth_noise

COLUMNS = 2048
"""Pixels for the full turn; column 0 looks along x, azimuth grows with the column."""
ROWS = 320
_SEAM = 200
TOP = 1.25
"""Tangent of the elevation of the first row; the last row is the horizon."""


def paint_sky(seed: int, condition: Condition) -> np.ndarray:
    """Return the panorama, uint8 RGB ``[ROWS, COLUMNS, 3]``.

    The clouds belong to the condition; hills and landmarks only to the town's seed.
    """
    clouds = np.random.default_rng([seed, sum(condition.name.encode())])
    image = _gradient(condition) + _clouds(clouds, condition)
    image = np.clip(image, 0, 255)
    _skyline(np.random.default_rng([seed, 2]), image, condition)
    return image.astype(np.uint8)


def _gradient(condition: Condition) -> np.ndarray:
    share = np.sqrt(np.linspace(1, 0, ROWS, dtype=np.float32))[:, None, None]
    horizon, top = rgb(condition.sky_horizon), rgb(condition.sky_top)
    image = np.repeat(horizon + share * (top - horizon), COLUMNS, axis=1)
    if any(condition.sun):
        azimuth = np.linspace(0, 360, COLUMNS, endpoint=False) - condition.sun_azimuth_deg
        off = np.deg2rad((azimuth + 180) % 360 - 180)
        height = np.arctan(np.linspace(TOP, 0, ROWS)) - np.deg2rad(condition.sun_elevation_deg)
        glow = np.exp(-(off[None] ** 2 + height[:, None] ** 2) / 0.12)
        image += 70 * glow[..., None] * rgb(condition.sun) / max(condition.sun)
    return image


def _clouds(rng: np.random.Generator, condition: Condition) -> np.ndarray:
    cover = np.zeros((ROWS, COLUMNS), np.float32)
    for cell, weight in ((160, 1.0), (64, 0.6), (24, 0.3), (9, 0.12)):
        # Clouds are seen from below: three times as wide as high.
        cover += weight * _closed(smooth_noise(rng, (3 * ROWS, COLUMNS + _SEAM), cell)[::3])
    cover = np.clip(cover + 2.2 * condition.clouds - 1.1, 0, 1)
    shade = 0.35 * _closed(smooth_noise(rng, (ROWS, COLUMNS + _SEAM), 40))
    white = rgb(condition.sky_horizon) * np.float32(1.08)
    return (cover * (0.8 + shade))[..., None] * (white - rgb(condition.sky_top))


def _closed(noise: np.ndarray) -> np.ndarray:
    """Fade the surplus columns into the first ones so that the panorama closes."""
    share = np.linspace(0, 1, _SEAM, dtype=np.float32)
    start = noise[:, :_SEAM] * share + noise[:, COLUMNS:] * (1 - share)
    return np.hstack([start, noise[:, _SEAM:COLUMNS]])


def _skyline(rng: np.random.Generator, image: np.ndarray, condition: Condition) -> None:
    haze = rgb(condition.sky_horizon)
    surface = rgb(condition.ambient) * 255
    turn = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    for layer, (height, share) in enumerate(((0.17, 0.75), (0.11, 0.55))):
        hills = sum(rng.uniform(0.1, 0.4) * np.sin(k * turn + rng.uniform(0, 6.3))
                    for k in (2, 3, 5, 8, 13))
        top = ROWS - (height * (1 + 0.6 * np.asarray(hills))) / TOP * ROWS
        colour = share * haze + (1 - share) * surface * rgb((0.32, 0.42, 0.34))
        image[np.arange(ROWS)[:, None] > top[None]] = colour
        if layer == 0:
            _landmarks(rng, image, 0.75 * haze + 0.25 * surface * 0.45)


def _landmarks(rng: np.random.Generator, image: np.ndarray, colour: np.ndarray) -> None:
    for column in rng.integers(60, COLUMNS - 60, 9):
        tall, wide = int(rng.integers(50, 105)), int(rng.integers(7, 22))
        x, tone = int(column), tuple((colour * rng.uniform(0.85, 1.15)).tolist())
        cv2.rectangle(image, (x - wide, ROWS - tall), (x + wide, ROWS), tone, -1)
        if rng.random() < 0.4:
            spire = np.array([[x - wide, ROWS - tall], [x + wide, ROWS - tall],
                              [x, ROWS - tall - 3 * wide]], np.int32)
            cv2.fillPoly(image, [spire], tone, cv2.LINE_AA)
        elif rng.random() < 0.4:
            cv2.line(image, (x, ROWS - tall - 40), (x, ROWS - tall), tone, 2)
