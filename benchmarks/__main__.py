"""Run the benchmarks: ``make bench``, or ``make bench ARGS=--quick`` for small maps only."""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

import faiss
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.loop_closing import SIZES as LOOP_SIZES
from benchmarks.loop_closing import loop_tables, measure_loops
from benchmarks.maps import CACHE, cached_map
from benchmarks.node_overhead import measure_node
from benchmarks.node_processes import measure_processes, processes_table
from benchmarks.node_rates import measure_all, rates_table
from benchmarks.searching import SizeReport, measure_rerank, measure_size
from benchmarks.shared_memory import use_shared_memory
from benchmarks.timing import measure_bandwidth, time_calls
from seqnet_ros.models.default_model import default_model
from seqnet_ros.models.place_model import PlaceModel, load_model

_MODEL = Path(__file__).with_name('resnet18.yaml')
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_QUICK_SIZES = (1_000, 10_000)
_FRAMES = 24


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks', description=__doc__)
    parser.add_argument('--quick', action='store_true', help='maps of up to 10,000 places')
    quick = parser.parse_args().quick
    use_shared_memory()
    console = Console(width=150)
    bandwidth = measure_bandwidth(512 << 20)
    console.print(
        f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; one core reads '
        f'{bandwidth / 1e9:.1f} GB/s from memory; faiss {faiss.__version__}, '
        f'torch {torch.__version__}, numpy {np.__version__}')
    console.print('Times are medians (10th .. 90th percentile) in ms; a floor is the time to read '
                  'the bytes in order, once.')
    images = np.random.default_rng(0).integers(
        0, 256, (_FRAMES, 480, 640, 3), dtype=np.uint8)
    network = load_model(_MODEL, device='cpu')
    console.print(_describe_table({'hog': load_model('hog', device='cpu'), **_default_model(),
                                   'resnet18': network}, images))
    console.print(_rerank_table())
    reports = []
    for places in _QUICK_SIZES if quick else _SIZES:
        with console.status(f'{places:,} places'):
            reports.append(measure_size(network, places, images))
    console.print(_search_table(reports))
    console.print(_frame_table(reports))
    with console.status('the loop closer'):
        loops = measure_loops(_QUICK_SIZES if quick else LOOP_SIZES)
    for table in loop_tables(loops):
        console.print(table)
    console.print(f'The maps are kept in {CACHE} for the next run.')
    if find_spec('rclpy') is None:
        console.print('The overhead of the node was not measured: rclpy is not installed.')
        return
    console.print(_node_table(network, images))
    console.print(rates_table(measure_all(images)))
    console.print(processes_table(measure_processes(images)))


def _default_model() -> dict[str, PlaceModel]:
    name = default_model()
    return {} if name == 'hog' else {name: load_model(name, device='cpu')}


def _describe_table(models: dict[str, PlaceModel], images: np.ndarray) -> Table:
    table = Table('model', 'describe, ms', 'per s', title='One 480x640 image')
    for name, model in models.items():
        timing = time_calls(lambda image, m=model: m.describer.describe([image]), images)
        table.add_row(name, str(timing), f'{1 / timing.median:.0f}')
    return table


def _rerank_table() -> Table:
    table = Table('speeds', 'rows', 're-rank, ms', 'floor, ms', 'ratio', 'aim, ms',
                  title='Re-rank 20 distinct places, D = 4096, L = 5')
    for speed_steps in (5, 7):
        report = measure_rerank(speed_steps)
        table.add_row(
            str(report.speeds), str(report.rows), str(report.timing), f'{report.floor * 1e3:.3f}',
            f'{report.timing.median / report.floor:.1f}', _aim(report.timing.median, 0.001))
    return table


def _search_table(reports: list[SizeReport]) -> Table:
    table = Table('places', 'coarse, ms', 'compared', 'floor, ms', 'ratio', 'exact floor, ms',
                  'recall@20', 'aim, ms', title='Coarse search of 20 places, 512 dimensions')
    for report in reports:
        table.add_row(
            f'{report.places:,}', str(report.coarse), f'{report.compared:,}',
            f'{report.coarse_floor * 1e3:.3f}',
            f'{report.coarse.median / report.coarse_floor:.1f}', f'{report.exact_floor * 1e3:.3f}',
            f'{report.recall:.4f}', _aim(report.coarse.median, 0.002))
    return table


def _frame_table(reports: list[SizeReport]) -> Table:
    table = Table('places', 'describe, ms', 're-rank, ms', 'total per frame, ms', 'open map, ms',
                  'index, MB', 'index build, s', title='A frame of 480x640 with ResNet-18')
    for report in reports:
        build = 'cached' if report.build_seconds is None else f'{report.build_seconds:.1f}'
        table.add_row(
            f'{report.places:,}', str(report.describe), str(report.rerank), str(report.total),
            str(report.opening), f'{report.index_bytes / 1e6:.0f}', build)
    return table


def _node_table(model: PlaceModel, images: np.ndarray) -> Table:
    map_path = cached_map(model, 10_000)[0]
    report = measure_node(_MODEL, model, map_path, np.concatenate([images, images]))
    table = Table('what', 'ms', 'share', 'aim', title='The node, ResNet-18 at 480x640')
    table.add_row('bare engine, same images', str(report.bare), '', '')
    table.add_row('engine inside the node', str(report.inside), '', '')
    table.add_row('image published to match received', str(report.node), '', '')
    table.add_row('node and DDS over the engine inside', '', f'{report.overhead:.1%}', '15 %')
    table.add_row('node and DDS over the bare engine', '', f'{report.against_bare:.1%}', '15 %')
    return table


def _aim(seconds: float, limit: float) -> str:
    return f'{limit * 1e3:g} ' + ('held' if seconds <= limit else 'missed')


if __name__ == '__main__':
    main()
