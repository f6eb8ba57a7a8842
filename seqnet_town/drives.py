"""Drives through the town: where the robot is at every frame, and what it sees there."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_town.camera import Camera
from seqnet_town.cars import LOOKS
from seqnet_town.conditions import DAY, Condition
from seqnet_town.objects import CarPose
from seqnet_town.renderer import Renderer
from seqnet_town.route import LANE_OFFSET
from seqnet_town.world import Town

START_NS = 1_700_000_000_000_000_000
_STEP = 0.1
"""Arclength step at which time is integrated, meters."""
_TRAFFIC_SPEED = 9.0


class Drive:
    """A recording of one drive along the town's route, a `FrameSource` with exact poses.

    Images are rendered when read, each on its own: any frame can be read in any order, any number
    of times, and is the same to the byte.

    Args:
        town: where to drive.
        condition: light, weather, season and traffic.
        camera: what to see with.
        lateral_offset: distance from the route, meters, left positive; the robot weaves a little
            about it. Between about -0.8 (parked cars) and 2 (oncoming cars) it meets nobody.
        speed: mean speed, meters per second; it varies smoothly by about a fifth.
        rate: frames per second.
        start: where on the route to start, meters of arclength.
        length: how far to drive, meters; by default as many ``laps`` as given.
        laps: laps to drive where no ``length`` is given.
        stops: places to stand still, (meters driven, seconds).
        seed: decides speed, weave, cars and sensor noise; not the town.
        start_ns: stamp of the first frame.
    """

    def __init__(self, town: Town, condition: Condition = DAY, camera: Camera | None = None, *,
                 lateral_offset: float = 0.0, speed: float = 8.0, rate: float = 10.0,
                 start: float = 0.0, length: float | None = None, laps: float = 1.0,
                 stops: Sequence[tuple[float, float]] = (), seed: int = 0,
                 start_ns: int = START_NS) -> None:
        if speed <= 0 or rate <= 0:
            raise InputError(f'a drive needs a positive speed and rate, found {speed} and {rate}')
        self.town = town
        self.condition = condition
        self.camera = camera or Camera()
        self.name = f'town {town.seed}, {condition.name}, drive {seed}'
        self.pose_origin = 'rendered, exact'
        self._seed = seed
        self._rng = np.random.default_rng([seed, town.seed])
        waves = self._rng.uniform(0, 2 * np.pi, (3, 3))
        travelled = laps * town.route_length if length is None else length
        times, driven = _timeline(travelled, speed, stops, waves[0])
        count = int(np.floor(times[-1] * rate)) + 1
        self._times = np.arange(count) / rate
        self.distances: np.ndarray = np.interp(self._times, times, driven)
        """Meters driven at every frame, ``[N]``."""
        self.arclengths: np.ndarray = np.mod(self.distances + start, town.route_length)
        """Position of every frame along the route, meters, ``[N]``."""
        self.stamps: np.ndarray = start_ns + np.round(self._times * 1e9).astype(np.int64)
        """Nanoseconds, int64 ``[N]``."""
        self.poses: np.ndarray = _poses(town, self.arclengths, self.distances, lateral_offset,
                                        waves[1:])
        """``[x, y, z, qx, qy, qz, qw]`` of ``base_link`` in the map frame, ``[N, 7]``."""
        self._exposure = 1 + 0.06 * np.sin(self.distances / 23 + waves[0, 0])
        self._parked = self._park()
        self._oncoming = self._spread_traffic()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._times)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in driving order."""
        return (self.frame(index) for index in range(len(self)))

    def frame(self, index: int) -> Frame:
        """Return one frame; nothing is rendered before it is read."""
        return Frame(index, int(self.stamps[index]), partial(self.render, index),
                     self.poses[index].copy(), f'{self.name}, frame {index}')

    def render(self, index: int) -> np.ndarray:
        """Return the image of one frame, RGB uint8 ``[H, W, 3]``."""
        return self._renderer.render(self.poses[index], self.cars(index), (self._seed, index),
                                     float(self._exposure[index]))

    def cars(self, index: int) -> list[CarPose]:
        """Return the parked and oncoming cars at the time of a frame."""
        start, speed, look = self._oncoming.T
        route = self.town.route
        x, y, heading = route.at(start - speed * self._times[index]).T
        x, y = x - 2 * LANE_OFFSET * np.sin(heading), y + 2 * LANE_OFFSET * np.cos(heading)
        passing = [CarPose(float(a), float(b), float(c + np.pi), int(kind), lights=True)
                   for a, b, c, kind in zip(x, y, heading, look, strict=True)]
        return self._parked + passing

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self.town, self.camera, self.condition)

    def _park(self) -> list[CarPose]:
        taken = self._rng.random(len(self.town.plan.parking)) < self.condition.parked
        looks = self._rng.integers(LOOKS, size=len(taken))
        shift = self._rng.normal(0, 0.25, len(taken))
        return [CarPose(x + off * np.cos(heading), y + off * np.sin(heading), heading, int(look))
                for (x, y, heading), off, look, car
                in zip(self.town.plan.parking, shift, looks, taken, strict=True) if car]

    def _spread_traffic(self) -> np.ndarray:
        """Return arclength at the first frame, speed and look of every oncoming car."""
        count = self._rng.poisson(self.condition.traffic * self.town.route_length / 100)
        return np.column_stack([self._rng.uniform(0, self.town.route_length, count),
                                self._rng.normal(_TRAFFIC_SPEED, 1.0, count),
                                self._rng.integers(LOOKS, size=count)])


def _timeline(travelled: float, speed: float, stops: Sequence[tuple[float, float]],
              phases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times (seconds) and the meters driven at them."""
    driven = np.linspace(0, travelled, max(2, int(travelled / _STEP) + 1))
    wave = np.sin(driven / 31 + phases[0]) + np.sin(driven / 11 + phases[1]) * 0.5
    pace = 1 / (speed * (1 + 0.14 * wave))
    steps = np.diff(driven) * (pace[1:] + pace[:-1]) / 2
    times = np.r_[0, np.cumsum(steps)]
    for place, seconds in sorted(stops):
        after = int(np.searchsorted(driven, place))
        moment = np.interp(place, driven, times)
        times = np.r_[times[:after], moment, moment + seconds, times[after:] + seconds]
        driven = np.r_[driven[:after], place, place, driven[after:]]
    return times, driven


def _poses(town: Town, arclengths: np.ndarray, distances: np.ndarray, lateral_offset: float,
           phases: np.ndarray) -> np.ndarray:
    x, y, heading = town.route.at(arclengths).T
    weave = (0.14 * np.sin(distances / 9 + phases[0, 0])
             + 0.06 * np.sin(distances / 4 + phases[0, 1]))
    lateral = lateral_offset + weave
    yaw = heading + np.deg2rad(1.4 * np.sin(distances / 6 + phases[1, 0])
                               + 0.7 * np.sin(distances / 2.3 + phases[1, 1]))
    zero = np.zeros_like(x)
    return np.column_stack([x - lateral * np.sin(heading), y + lateral * np.cos(heading), zero,
                            zero, zero, np.sin(yaw / 2), np.cos(yaw / 2)])
