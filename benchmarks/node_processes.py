"""Start time, memory and end of each node: idle, and with images at 30 Hz.

Part of ``make bench``; alone ``python -m benchmarks.node_processes``.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import cached_map
from benchmarks.shared_memory import use_shared_memory
from seqnet_ros.models.place_model import load_model
from soak.node_process import NodeProcess

RATE_HZ = 30.0
_PLACES = 3_576
_SECONDS = 20.0
_IDLE_S = 3.0
_PATIENCE_S = 60.0
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


class Watcher:
    """Receives the reports of a node, and is its camera."""

    def __init__(self, name: str) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import Image

        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('bench_watcher', context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._name = name
        self.values: dict[str, str] = {}
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_report, 10)
        self._images = self._node.create_publisher(Image, 'image', 10)
        self._image_type = Image

    def _on_report(self, array: Any) -> None:
        for status in array.status:
            if status.name.startswith(f'{self._name}:'):
                self.values = {item.key: item.value for item in status.values} | {'reported': ''}

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Spin until a condition holds."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            self._executor.spin_once(timeout_sec=0.01)
            if time.monotonic() > deadline:
                raise TimeoutError(f'{what} did not come within {_PATIENCE_S:g} s')

    def spin(self, seconds: float) -> None:
        """Spin for a time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def show(self, images: np.ndarray, seconds: float, first: int = 0) -> int:
        """Publish images at 30 Hz for a time; return the number of images sent so far."""
        self.wait(lambda: bool(self._images.get_subscription_count()), 'a subscription')
        due = time.monotonic()
        count = round(RATE_HZ * seconds)
        for number in range(first, first + count):
            image = images[number % len(images)]
            message = self._image_type(height=image.shape[0], width=image.shape[1],
                                       encoding='rgb8', step=image.shape[1] * 3)
            stamp_ns = 10 ** 9 + round(number * 1e9 / RATE_HZ)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10 ** 9)
            message.data.frombytes(image.tobytes())
            self._images.publish(message)
            due += 1 / RATE_HZ
            self.spin(max(due - time.monotonic(), 0.0))
        return first + count

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@contextmanager
def started(name: str, parameters: dict[str, object],
            folder: Path) -> Iterator[tuple[NodeProcess, Watcher, float]]:
    """Run a node until its first report; yields also how long that took, seconds."""
    watcher = Watcher(name)
    began = time.monotonic()
    try:
        with NodeProcess(name, parameters | {'diagnostics_period_s': 0.1},
                         folder / f'{name}.log') as node:
            def reported() -> bool:
                node.check()
                state = watcher.values.get('state', 'active')
                return bool(watcher.values) and state == 'active'

            watcher.wait(reported, f'a report of {name}')
            yield node, watcher, time.monotonic() - began
    finally:
        watcher.close()


def measure_process(name: str, parameters: dict[str, object], images: np.ndarray,
                    folder: Path) -> ProcessReport:
    """Start a node, leave it alone, end it; with images, do so once more under load."""
    with started(name, parameters, folder) as (node, watcher, start_s):
        start_cpu_s = node.cpu_seconds
        watcher.spin(_IDLE_S)
        idle_mb = node.resident_bytes / _MB
        stop_s = _stop(node)
    if name not in IMAGE_NODES:
        return ProcessReport(name, start_s, start_cpu_s, idle_mb, stop_s)
    with started(name, parameters, folder) as (node, watcher, _):
        first = watcher.show(images, 1.0)
        cpu_s, began = node.cpu_seconds, time.monotonic()
        sent = watcher.show(images, _SECONDS, first)
        cores = (node.cpu_seconds - cpu_s) / (time.monotonic() - began)
        watcher.spin(0.5)
        return ProcessReport(
            name, start_s, start_cpu_s, idle_mb, stop_s, node.resident_bytes / _MB, cores,
            int(watcher.values['images processed']) / sent, _stop(node))


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
