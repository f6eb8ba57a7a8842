"""Light, weather, season and traffic of a drive through the rendered town."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]


def rgb(colour: Colour) -> np.ndarray:
    """Return a color or light as float32 ``[3]``."""
    return np.array(colour, np.float32)


@dataclass(frozen=True)
class Condition:
    """Everything that changes between two drives besides where the camera is.

    Light values are RGB gains on surface colors (1 shows a surface in its own color); sky and
    haze colors are RGB in 0 to 255. Angles are degrees, counter-clockwise from the x axis.

    Attributes:
        ambient: light from the sky, on every surface.
        sun: direct light; surfaces turned away from it and shadows get none of it.
        sun_azimuth_deg: direction toward the sun.
        sun_elevation_deg: height of the sun; decides the length of shadows.
        sky_top: color of the sky overhead.
        sky_horizon: color of the sky at the horizon, and of the haze.
        clouds: share of the sky that is covered, 0 to 1.
        haze_m: distance at which two thirds of the light are lost to haze, meters.
        lit_windows: share of windows with light behind them, 0 to 1.
        lamps: strength of street lamps and headlights, 0 to 1.
        rain: strength of rain, 0 to 1: streaks and a wet, mirroring road.
        season: foliage of the trees.
        parked: share of parking spaces that are taken, 0 to 1.
        traffic: oncoming cars per 100 m of route.
        noise: standard deviation of the sensor noise, gray levels.
        blur: standard deviation of the lens blur in a 640 pixel wide image, pixels.
    """

    name: str
    ambient: Colour = (0.70, 0.73, 0.78)
    sun: Colour = (0.66, 0.60, 0.50)
    sun_azimuth_deg: float = 235.0
    sun_elevation_deg: float = 48.0
    sky_top: Colour = (86, 138, 205)
    sky_horizon: Colour = (196, 212, 226)
    clouds: float = 0.45
    haze_m: float = 420.0
    lit_windows: float = 0.0
    lamps: float = 0.0
    rain: float = 0.0
    season: Literal['summer', 'autumn', 'winter'] = 'summer'
    parked: float = 0.45
    traffic: float = 0.8
    noise: float = 2.0
    blur: float = 0.5


DAY = Condition('day')
OVERCAST = Condition(
    'overcast', ambient=(0.84, 0.87, 0.90), sun=(0, 0, 0), sky_top=(168, 176, 186),
    sky_horizon=(206, 210, 214), clouds=1.0, haze_m=260.0, parked=0.6)
DUSK = Condition(
    'dusk', ambient=(0.36, 0.37, 0.50), sun=(0.26, 0.15, 0.08), sun_azimuth_deg=175.0,
    sun_elevation_deg=9.0, sky_top=(58, 70, 118), sky_horizon=(218, 150, 112), clouds=0.6,
    haze_m=300.0, lit_windows=0.35, lamps=0.45, parked=0.65, traffic=1.5, noise=4.5, blur=0.8)
NIGHT = Condition(
    'night', ambient=(0.095, 0.10, 0.15), sun=(0, 0, 0), sky_top=(8, 10, 22),
    sky_horizon=(40, 36, 42), clouds=0.8, haze_m=220.0, lit_windows=0.3, lamps=1.0, parked=0.75,
    traffic=0.6, noise=8.0, blur=1.0)
RAIN = Condition(
    'rain', ambient=(0.58, 0.62, 0.66), sun=(0, 0, 0), sky_top=(118, 126, 134),
    sky_horizon=(158, 164, 168), clouds=1.0, haze_m=120.0, lit_windows=0.15, lamps=0.15, rain=0.8,
    parked=0.5, traffic=1.0, noise=3.5, blur=0.9)
AUTUMN = Condition(
    'autumn', ambient=(0.64, 0.64, 0.66), sun=(0.50, 0.42, 0.30), sun_azimuth_deg=320.0,
    sun_elevation_deg=22.0, sky_top=(120, 152, 192), sky_horizon=(214, 212, 204), clouds=0.7,
    haze_m=240.0, season='autumn', parked=0.55)
WINTER = Condition(
    'winter', ambient=(0.74, 0.80, 0.90), sun=(0.12, 0.11, 0.09), sun_azimuth_deg=270.0,
    sun_elevation_deg=14.0, sky_top=(176, 188, 202), sky_horizon=(216, 220, 226), clouds=0.9,
    haze_m=200.0, lit_windows=0.08, season='winter', parked=0.5, noise=3.0)

CONDITIONS = {condition.name: condition
              for condition in (DAY, OVERCAST, DUSK, NIGHT, RAIN, AUTUMN, WINTER)}
"""The presets by name."""
