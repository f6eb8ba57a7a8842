"""Cost of a keyframe of the place filter beside its floor, for maps of several sizes.

``python -m benchmarks.place_filter`` measures 3,576, 30,000 and 1,000,000 places of 512 values;
``--quick`` leaves the largest away. The floor of an exact scan is the time to read all frames once.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import cached_map
from benchmarks.timing import Timing, measure_bandwidth, time_calls
from seqnet_ros.localization.filter_search import FilterSearch, Keyframe
from seqnet_ros.localization.map_search import MapSearch, prepare_map
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.models.place_model import PlaceModel, load_model

_MODEL = Path(__file__).with_name('resnet18.yaml')
_SIZES = (3_576, 30_000, 1_000_000)
_KEYFRAMES = 300
_WARM_UP = 30


@dataclass(frozen=True)
class FilterReport:
    """Cost on a map of one size.

    Attributes:
        places: size of the map.
        keyframe: everything but the description of the image, while the robot is followed.
        lost: the same while it is off the map.
        floor: seconds to read all frames of the map once.
        right: share of the keyframes whose best place is within three of the true one.
    """

    places: int
    keyframe: Timing
    lost: Timing
    floor: float
    right: float


def measure_filter(model: PlaceModel, places: int) -> FilterReport:
    """Follow a second drive along a synthetic route, then frames from elsewhere."""
    path, route, _ = cached_map(model, places)
    place_map = prepare_map(open_map(path, model), model, model.engine)
    frames, ends = route.second_drive(1, _KEYFRAMES)
    search = FilterSearch([MapSearch(model, place_map, model.engine)], model.engine)
    drive = [Keyframe([frame], frames[0, max(0, number - 9):number + 1], None, number, _NO_IMAGE)
             for number, frame in enumerate(frames[0])]
    found = []
    keyframe = time_calls(lambda item: found.append(search.search(item)), drive)
    true = int(ends[0]) - np.arange(_KEYFRAMES)[::-1]
    best = [answer.candidates[0].place_id if answer.candidates else -1 for answer in found]
    right = np.abs(np.array(best) - true)[_WARM_UP:] <= model.engine.filter.tolerance
    noise = np.random.default_rng(0).standard_normal((_KEYFRAMES, route.dim)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    elsewhere = [Keyframe([frame], noise[max(0, number - 9):number + 1], None, number, _NO_IMAGE)
                 for number, frame in enumerate(noise)]
    lost = time_calls(search.search, elsewhere)
    size = place_map.frames.nbytes
    floor = size / measure_bandwidth(min(size, 512 << 20))
    return FilterReport(places, keyframe, lost, floor, float(right.mean()))


_NO_IMAGE = np.zeros((1, 1, 3), dtype=np.uint8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.place_filter', description=__doc__)
    parser.add_argument('--quick', action='store_true', help='maps of up to 30,000 places')
    sizes = _SIZES[:2] if parser.parse_args().quick else _SIZES
    model = load_model(_MODEL, device='cpu')
    table = Table('places', 'followed, ms', 'lost, ms', 'floor of an exact scan, ms', 'right',
                  title='Place filter, 512 values a frame: median (10th .. 90th percentile)')
    for places in sizes:
        report = measure_filter(model, places)
        table.add_row(f'{report.places:,}', str(report.keyframe), str(report.lost),
                      f'{report.floor * 1e3:.2f}', f'{report.right:.3f}')
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
