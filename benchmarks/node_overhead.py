"""Overhead of node and DDS over the engine, from publishing an image to its match."""

import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Timing
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.models.place_model import PlaceModel

_PATIENCE_S = 60.0
_WARM_UP = 8
_LAST_S = 1.0
"""Maximum time to wait for the results of the last images."""


@dataclass(frozen=True)
class NodeReport:
    """The same images through the node and through the bare engine, in turns.

    Attributes:
        bare: `Localizer.push` in this process.
        node: publishing an image until its match has arrived here.
        inside: the engine's time within the node, as its messages say.
        overhead: median of (node - inside) / inside over the images.
        against_bare: median of node / bare - 1 over the images.
    """

    bare: Timing
    node: Timing
    inside: Timing
    overhead: float
    against_bare: float


def measure_node(model_file: Path, model: PlaceModel, map_path: Path,
                 images: np.ndarray) -> NodeReport:
    """Run the localizer as a process and give it images as a camera would."""
    with localizer_process(model_file, map_path, 'reliable'):
        return _alternate(Localizer(model, open_map(map_path, model)), images)


@contextmanager
def localizer_process(model_file: str | Path, map_path: Path,
                      reliability: str) -> Iterator[subprocess.Popen]:
    """Run the localizer as a process of its own while the block lasts."""
    command = [sys.executable, '-m', 'seqnet_ros.nodes', 'localizer', '--ros-args',
               '-p', f'model:={model_file}', '-p', f'map:={map_path}', '-p', 'device:=cpu',
               '-p', 'use_odometry:=false', '-p', f'image_reliability:={reliability}']
    with subprocess.Popen(command, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _alternate(engine: Localizer, images: np.ndarray) -> NodeReport:
    camera = Camera()
    try:
        bare, node, inside = [], [], []
        for number, image in enumerate(images):
            started = time.perf_counter()
            engine.push(image, (number + 1) * 10 ** 8)
            bare.append(time.perf_counter() - started)
            seconds, within = camera.show(image, (number + 1) * 10 ** 8)
            node.append(seconds)
            inside.append(within)
    finally:
        camera.close()
    counted = np.array([bare, node, inside])[:, _WARM_UP:]
    bare_s, node_s, inside_s = counted
    return NodeReport(
        Timing.of(bare_s), Timing.of(node_s), Timing.of(inside_s),
        float(np.median((node_s - inside_s) / inside_s)), float(np.median(node_s / bare_s - 1)))


class Camera:
    """Publishes images and receives their matches."""

    def __init__(self) -> None:
        import rclpy
        from sensor_msgs.msg import Image
        from seqnet_ros.msg import PlaceMatch

        self._image_type = Image
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('bench_camera', context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._images = self._node.create_publisher(Image, 'image', 1)
        self._arrived: list[tuple[float, PlaceMatch]] = []
        self._node.create_subscription(
            PlaceMatch, 'localizer/place_match',
            lambda match: self._arrived.append((time.perf_counter(), match)), 10)
        self._wait(lambda: self._images.get_subscription_count()
                   and self._node.count_publishers('localizer/place_match'), 'the localizer')
        time.sleep(1.0)  # discovery of the match topic's reader by the node

    def show(self, image: np.ndarray, stamp_ns: int) -> tuple[float, float]:
        """Return the seconds until the match of an RGB image arrived, and the engine's share."""
        message = self._message(image, stamp_ns)
        self._arrived.clear()
        started = time.perf_counter()
        self._images.publish(message)
        self._wait(lambda: self._arrived, 'a match')
        arrived, match = self._arrived[-1]
        return arrived - started, match.describe_seconds + match.match_seconds

    def show_all(self, images: np.ndarray, rate: float, seconds: float,
                 first_ns: int) -> tuple[int, list[tuple[float, float]]]:
        """Publish RGB images one after the other at a rate, whatever comes back.

        Returns:
            The number published, and for each that was matched the seconds until its match arrived
            and the engine's share.
        """
        published: dict[int, float] = {}
        messages = [self._message(image, 0) for image in images]
        self._arrived.clear()
        due = time.perf_counter()
        for number in range(round(rate * seconds)):
            message, stamp_ns = messages[number % len(messages)], first_ns + number * 10 ** 7
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10 ** 9)
            self._spin_until(due)
            published[stamp_ns] = time.perf_counter()
            self._images.publish(message)
            due += 1 / rate
        self._spin_until(time.perf_counter() + _LAST_S)
        matched = []
        for arrived, match in self._arrived:
            stamp_ns = match.header.stamp.sec * 10 ** 9 + match.header.stamp.nanosec
            if stamp_ns in published:  # it may still be of the images shown before
                matched.append((arrived - published[stamp_ns],
                                match.describe_seconds + match.match_seconds))
        return len(published), matched

    def _spin_until(self, due: float) -> None:
        while (left := due - time.perf_counter()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _message(self, image: np.ndarray, stamp_ns: int) -> Any:
        message = self._image_type(
            height=image.shape[0], width=image.shape[1], encoding='rgb8',
            step=image.shape[1] * 3)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10 ** 9)
        message.data = array('B', image.tobytes())
        return message

    def _wait(self, condition, what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(f'{what} did not come within {_PATIENCE_S} s')

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
