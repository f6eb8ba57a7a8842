"""Start time, memory and end of each node: idle, and with images at 30 Hz.

Part of ``make bench``; alone ``python -m benchmarks.node_processes``.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.camera import Camera
from benchmarks.maps import cached_map
from benchmarks.shared_memory import use_shared_memory
from seqnet_ros.models.place_model import load_model
from soak.node_process import NodeProcess

RATE_HZ = 30.0
_PLACES = 3_576
_STEP_NS = round(1e9 / RATE_HZ)
_SECONDS = 20.0
_WARM_UP_S = _BEFORE_STOP_S = 1.0
_IDLE_S = 3.0
_MB = 1e6
IMAGE_NODES = ('localizer', 'mapper', 'loop_closer')
NEEDS = {'rtabmap_bridge': 'rtabmap_msgs', 'pose_graph_bridge': 'pose_graph_tools_msgs'}


@dataclass(frozen=True)
class ProcessReport:
    """One node as a process.

    Attributes:
        name: of its executable.
        start_s: from starting the process to its first report on ``/diagnostics``.
        start_cpu_s: CPU time of that, which other programs do not lengthen.
        idle_mb: resident memory without input, MB.
        stop_s: from SIGINT to the end of the process, idle.
        busy_mb: resident memory after images at 30 Hz; None for nodes without images.
        cores: cores busy meanwhile.
        taken: share of the images sent that the node processed.
        busy_stop_s: from SIGINT to the end while images come; a mapper saves its map.
    """

    name: str
    start_s: float
    start_cpu_s: float
    idle_mb: float
    stop_s: float
    busy_mb: float | None = None
    cores: float | None = None
    taken: float | None = None
    busy_stop_s: float | None = None


class WatchingCamera(Camera):
    """A camera that receives the reports of a node.

    Attributes:
        values: of the last report; empty before the first.
    """

    def __init__(self, name: str) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        super().__init__()
        self._name = name
        self.values: dict[str, str] = {}
        self.listen(DiagnosticArray, '/diagnostics', self._on_report)

    def _on_report(self, array: Any) -> None:
        for status in array.status:
            if status.name.startswith(f'{self._name}:'):
                self.values = {item.key: item.value for item in status.values} | {'reported': ''}


@contextmanager
def started(name: str, parameters: dict[str, object],
            folder: Path) -> Iterator[tuple[NodeProcess, WatchingCamera, float]]:
    """Run a node until its first report; yields also how long that took, seconds."""
    camera = WatchingCamera(name)
    began = time.monotonic()
    try:
        with NodeProcess(name, parameters | {'diagnostics_period_s': 0.1},
                         folder / f'{name}.log') as node:
            def reported() -> bool:
                node.check()
                state = camera.values.get('state', 'active')
                return bool(camera.values) and state == 'active'

            camera.wait(reported, f'a report of {name}')
            yield node, camera, time.monotonic() - began
    finally:
        camera.close()


def measure_process(name: str, parameters: dict[str, object], images: np.ndarray,
                    folder: Path) -> ProcessReport:
    """Start a node, leave it alone, end it; with images, do so once more under load."""
    with started(name, parameters, folder) as (node, camera, start_s):
        start_cpu_s = node.cpu_seconds
        camera.spin(_IDLE_S)
        idle_mb = node.resident_bytes / _MB
        stop_s = _stop(node)
    if name not in IMAGE_NODES:
        return ProcessReport(name, start_s, start_cpu_s, idle_mb, stop_s)
    with started(name, parameters, folder) as (node, camera, _):
        camera.wait_for_node()
        sent = len(camera.show(images, RATE_HZ, _WARM_UP_S, 10 ** 9, _STEP_NS))
        cpu_s, began = node.cpu_seconds, time.monotonic()
        sent += len(camera.show(images, RATE_HZ, _SECONDS, 10 ** 9 + sent * _STEP_NS, _STEP_NS))
        cores = (node.cpu_seconds - cpu_s) / (time.monotonic() - began)
        camera.spin(0.5)
        taken = int(camera.values['images processed']) / sent
        busy_mb = node.resident_bytes / _MB
        with ThreadPoolExecutor(1) as pool:
            pool.submit(camera.show, images, RATE_HZ, 2 * _BEFORE_STOP_S,
                        10 ** 9 + sent * _STEP_NS, _STEP_NS)
            time.sleep(_BEFORE_STOP_S)
            busy_stop_s = _stop(node)
    return ProcessReport(name, start_s, start_cpu_s, idle_mb, stop_s, busy_mb, cores, taken,
                         busy_stop_s)


def _stop(node: NodeProcess) -> float:
    began = time.monotonic()
    node.stop()
    return time.monotonic() - began


def measure_processes(images: np.ndarray) -> list[ProcessReport]:
    """Measure every node whose messages are installed."""
    map_path = str(cached_map(load_model('hog', device='cpu'), _PLACES)[0])
    quiet: dict[str, object] = {'use_odometry': False}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parameters: dict[str, dict[str, object]] = {
            'localizer': quiet | {'map': map_path}, 'mapper': quiet | {'map': folder / 'made'},
            'loop_closer': quiet, 'evaluator': {'map': map_path}, 'rtabmap_bridge': {},
            'pose_graph_bridge': {}}
        return [measure_process(node, values, images, folder)
                for node, values in parameters.items()
                if node not in NEEDS or find_spec(NEEDS[node])]


def processes_table(reports: list[ProcessReport]) -> Table:
    """Return the results, human-readable."""
    table = Table(
        'node', 'start, s', 'CPU of it, s', 'idle, MB', 'SIGINT to end, s', 'at 30 Hz, MB',
        'cores busy', 'processed', 'SIGINT to end, s', title='The nodes as processes, 480x640')
    for report in reports:
        busy = ['', '', '', '']
        if report.busy_mb is not None:
            busy = [f'{report.busy_mb:.0f}', f'{report.cores:.2f}', f'{report.taken:.1%}',
                    f'{report.busy_stop_s:.2f}']
        table.add_row(report.name, f'{report.start_s:.2f}', f'{report.start_cpu_s:.2f}',
                      f'{report.idle_mb:.0f}', f'{report.stop_s:.2f}', *busy)
    return table


def main() -> None:
    """Measure and print."""
    use_shared_memory()
    images = np.random.default_rng(0).integers(0, 256, (24, 480, 640, 3), dtype=np.uint8)
    console = Console(width=150)
    console.print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}')
    console.print(processes_table(measure_processes(images)))


if __name__ == '__main__':
    main()
