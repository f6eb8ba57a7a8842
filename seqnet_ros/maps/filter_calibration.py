"""How sure the place filter must be on a map, from drives that are not in it.

The map's own drive is followed by the filter while the places around it, and those it revisits, are
hidden. Whatever the filter then believes is wrong. On maps with places that look alike it believes
much; there, more mass is asked for. Simulated changes of light and viewpoint of the images were
tried too and gave the same values, because the evidence is standardized for each frame; so the
descriptors of the map suffice.
"""

import numpy as np

from seqnet_ros.config.engine import FilterConfig
from seqnet_ros.maps.calibration import similar_distance_m
from seqnet_ros.maps.place_map import FilterCalibration, PlaceMap
from seqnet_ros.maps.states import frame_distances, state_space
from seqnet_ros.place_filter.place_filter import PlaceFilter, Step
from seqnet_ros.place_filter.state_space import StateSpace

_RUNS = 3
_RUN_LENGTH = 250
_WARM_UP = 20
_FEWEST = 100
"""Smaller maps have too few places that are elsewhere."""
_MOST_COMPARED = 20_000
_HIDDEN_PLACES = 20
_QUANTILES = (0.5, 0.75)
_FACTOR, _OFFSET = 0.3, 1.5
_LEAST, _LEAST_WITH_ODOMETRY, _MOST = -0.5, 0.5, 1.5
_EPSILON = 1e-9


def calibrate_filter(place_map: PlaceMap, config: FilterConfig) -> FilterCalibration:
    """Follow the drive of a map through the rest of the map.

    Args:
        place_map: the map.
        config: the settings of the filter.
    """
    found = [value for first, end in _runs(len(place_map))
             for value in _follow(place_map, config, first, end)]
    least = _LEAST_WITH_ODOMETRY if place_map.manifest.has_poses else _LEAST
    bias = _LEAST
    if found:
        wrong = float(np.quantile(found, _QUANTILES).sum())
        bias = min(max(_FACTOR * wrong + _OFFSET, least), _MOST)
    return FilterCalibration(settings=config, bias=round(bias, 3), keyframes=len(found))


def _runs(count: int) -> list[tuple[int, int]]:
    """Return stretches of a drive, all of it if it is short."""
    if count <= _RUNS * _RUN_LENGTH:
        return [(0, count)] if count >= _FEWEST else []
    starts = np.linspace(0, count - _RUN_LENGTH, _RUNS).astype(int).tolist()
    return [(start, start + _RUN_LENGTH) for start in starts]


def _follow(place_map: PlaceMap, config: FilterConfig, first: int, end: int) -> list[float]:
    """Return the log odds of the best wrong place at each keyframe of a run."""
    middle = (first + end) // 2
    low = max(0, min(middle - _MOST_COMPARED // 2, len(place_map) - _MOST_COMPARED))
    compared = slice(low, min(low + _MOST_COMPARED, len(place_map)))
    frames = np.asarray(place_map.matching_frames[compared])
    space = _part(state_space([place_map]), compared)
    place_filter = PlaceFilter(space, config)
    alike_m = similar_distance_m(place_map.manifest.route_length_m)
    posed = place_map.manifest.has_poses
    values = []
    for number in range(first, end):
        distances = frame_distances(frames, place_map.matching_frames[number])
        apart = np.linalg.norm(
            place_map.positions[compared] - place_map.positions[number], axis=1)
        hidden = (apart <= alike_m) | (
            np.abs(np.arange(compared.start, compared.stop) - number) <= _HIDDEN_PLACES)
        if hidden.all():
            continue
        distances[hidden] = np.median(distances[~hidden])
        place_filter.predict(Step.between(
            place_map.poses[max(number - 1, 0)], place_map.poses[number]) if posed else Step())
        place_filter.update(distances)
        best = place_filter.hypotheses(1)
        mass = min(max(best[0].mass if best else 0.0, _EPSILON), 1 - _EPSILON)
        if number - first >= _WARM_UP:
            values.append(float(np.log(mass / (1 - mass))))
    return values


def _part(space: StateSpace, part: slice) -> StateSpace:
    """Return some successive places of one map."""
    return StateSpace((0, part.stop - part.start),
                      np.maximum(space.starts[part] - part.start, 0), space.poses[part],
                      space.mean_step_m, space.posed,
                      None if space.turns is None else space.turns[part])
