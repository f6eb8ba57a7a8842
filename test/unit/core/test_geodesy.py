"""Positions on the earth."""

import math

import numpy as np

from seqnet_ros.core.geodesy import GeoPoint, enu_to_geodetic, enu_to_latlon, geodetic_to_enu


def test_enu_of_known_positions():
    datum = GeoPoint(48.0, 11.0, 500.0)
    to_east, to_north, to_up = geodetic_to_enu(
        np.array([48.0, 48.001, 48.0]), np.array([11.001, 11.0, 11.0]),
        np.array([500.0, 500.0, 510.0]), datum)
    # WGS-84's radii of curvature: across the meridian and along it.
    eccentricity_2 = 0.00669437999014
    root = math.sqrt(1 - eccentricity_2 * math.sin(math.radians(48))**2)
    across, along = 6378137 / root, 6378137 * (1 - eccentricity_2) / root**3
    step = math.radians(0.001)
    parallel = (across + 500) * math.cos(math.radians(48))
    np.testing.assert_allclose(to_east, [parallel * step, 0, 0], atol=1e-3)
    np.testing.assert_allclose(to_north, [0, (along + 500) * step, 0], atol=1.1e-3)
    np.testing.assert_allclose(to_up, [0, 0, 10], atol=1e-6)


def test_latitude_and_longitude_survive_the_plane():
    rng = np.random.default_rng(0)
    for datum in (GeoPoint(48.0, 11.0, 500.0), GeoPoint(-33.9, 151.2), GeoPoint(0.0, 0.0, -50.0)):
        degrees = rng.normal([datum.latitude, datum.longitude], 0.1, size=(20, 2))
        altitudes = rng.uniform(-100, 100, size=20)
        positions = geodetic_to_enu(*degrees.T, altitudes, datum)
        np.testing.assert_allclose(enu_to_latlon(positions, datum), degrees, rtol=0, atol=1e-12)
        np.testing.assert_allclose(enu_to_geodetic(positions, datum)[:, 2], altitudes, atol=1e-6)
