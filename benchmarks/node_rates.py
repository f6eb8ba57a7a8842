"""From image to match through the node at the rates of cameras.

Part of ``make bench``; alone ``python -m benchmarks.node_rates``.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import cached_map
from benchmarks.node_overhead import MatchedCamera, localizer_process
from benchmarks.shared_memory import use_shared_memory
from seqnet_ros.models.place_model import PlaceModel, load_model

RATES = (10, 30, 60)
_SECONDS = 10.0
_WARM_UP_S = 3.0
_PLACES = 10_000
_NETWORK = Path(__file__).with_name('resnet18.yaml')


@dataclass(frozen=True)
class RateReport:
    """Results at one image rate.

    Attributes:
        model: name of the model.
        rate: images published per second.
        median: from publishing an image until its match has arrived, seconds.
        p99: the same, 99th percentile.
        engine: the engine's own time for an image, median, seconds.
        dropped: share of the images that have no match.
        cpu: CPU time of the node for each match, seconds, all threads.
        busy: CPU time of the node in a second.
    """

    model: str
    rate: float
    median: float
    p99: float
    engine: float
    dropped: float
    cpu: float
    busy: float


def measure_rates(name: str, model_file: str | Path, model: PlaceModel, images: np.ndarray,
                  seconds: float = _SECONDS) -> list[RateReport]:
    """Give a localizer images as a camera does, whether it keeps up or not."""
    map_path = cached_map(model, _PLACES)[0]
    reports = []
    with localizer_process(model_file, map_path, 'best_effort') as process:
        camera = MatchedCamera()
        try:
            camera.show_all(images, 10, _WARM_UP_S, 10 ** 9)
            for number, rate in enumerate(RATES):
                before = process.cpu_seconds
                published, matched = camera.show_all(images, rate, seconds, (number + 2) * 10 ** 12)
                cpu = process.cpu_seconds - before
                delays, engine = np.array(matched).reshape(-1, 2).T
                median, p99 = np.percentile(delays, (50, 99))
                reports.append(RateReport(
                    name, rate, float(median), float(p99), float(np.median(engine)),
                    1 - len(matched) / published, cpu / len(matched), cpu * rate / published))
        finally:
            camera.close()
    return reports


def rates_table(reports: list[RateReport]) -> Table:
    """Return the results, human-readable."""
    table = Table('model', 'images per s', 'image to match, ms: median', 'p99', 'engine, ms',
                  'without match', 'CPU per match, ms', 'CPUs busy',
                  title='The node at the rates of cameras, 480x640')
    for report in reports:
        table.add_row(
            report.model, f'{report.rate:g}', f'{1e3 * report.median:.1f}',
            f'{1e3 * report.p99:.1f}', f'{1e3 * report.engine:.1f}', f'{report.dropped:.1%}',
            f'{1e3 * report.cpu:.1f}', f'{report.busy:.2f}')
    return table


def measure_all(images: np.ndarray, seconds: float = _SECONDS) -> list[RateReport]:
    """Measure a model that keeps up and one that does not."""
    return [report for name, file in (('hog', 'hog'), ('resnet18', _NETWORK))
            for report in measure_rates(
                name, file, load_model(file, device='cpu'), images, seconds)]


def main() -> None:
    """Measure and print."""
    use_shared_memory()
    images = np.random.default_rng(0).integers(0, 256, (24, 480, 640, 3), dtype=np.uint8)
    console = Console(width=150)
    console.print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}')
    console.print(rates_table(measure_all(images)))


if __name__ == '__main__':
    main()
