"""Overhead of node and DDS over the engine, from publishing an image to its match."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.camera import Camera
from benchmarks.timing import Timing
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.models.place_model import PlaceModel
from soak.node_process import NodeProcess

_MATCHES = 'localizer/place_match'
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
                      reliability: str) -> Iterator[NodeProcess]:
    """Run the localizer as a process of its own while the block lasts."""
    parameters: dict[str, object] = {
        'model': model_file, 'map': map_path, 'device': 'cpu', 'use_odometry': False,
        'image_reliability': reliability}
    with tempfile.TemporaryDirectory() as folder, NodeProcess(
            'localizer', parameters, Path(folder) / 'localizer.log') as process:
        yield process


def _alternate(engine: Localizer, images: np.ndarray) -> NodeReport:
    camera = MatchedCamera()
    try:
        bare, node, inside = [], [], []
        for number, image in enumerate(images):
            started = time.perf_counter()
            engine.push(image, (number + 1) * 10 ** 8)
            bare.append(time.perf_counter() - started)
            seconds, within = camera.show_one(image, (number + 1) * 10 ** 8)
            node.append(seconds)
            inside.append(within)
    finally:
        camera.close()
    counted = np.array([bare, node, inside])[:, _WARM_UP:]
    bare_s, node_s, inside_s = counted
    return NodeReport(
        Timing.of(bare_s), Timing.of(node_s), Timing.of(inside_s),
        float(np.median((node_s - inside_s) / inside_s)), float(np.median(node_s / bare_s - 1)))


class MatchedCamera(Camera):
    """A camera that receives the matches of its images."""

    def __init__(self) -> None:
        from seqnet_ros.msg import PlaceMatch

        super().__init__()
        self._arrived: list[tuple[float, Any]] = []
        self.listen(PlaceMatch, _MATCHES,
                    lambda match: self._arrived.append((time.perf_counter(), match)))
        self.wait_for_node(_MATCHES)

    def show_one(self, image: np.ndarray, stamp_ns: int) -> tuple[float, float]:
        """Return the seconds until the match of an RGB image arrived, and the engine's share."""
        message = self.message(image, stamp_ns)
        self._arrived.clear()
        started = time.perf_counter()
        self.publish(message)
        self.wait(lambda: self._arrived, 'a match')
        arrived, match = self._arrived[-1]
        return arrived - started, match.describe_seconds + match.match_seconds

    def show_all(self, images: np.ndarray, rate: float, seconds: float,
                 first_ns: int) -> tuple[int, list[tuple[float, float]]]:
        """Publish RGB images one after the other at a rate, whatever comes back.

        Returns:
            The number published, and for each that was matched the seconds until its match arrived
            and the engine's share.
        """
        self._arrived.clear()
        published = self.show(images, rate, seconds, first_ns, 10 ** 7)
        self.spin(_LAST_S)
        matched = []
        for arrived, match in self._arrived:
            stamp_ns = match.header.stamp.sec * 10 ** 9 + match.header.stamp.nanosec
            if stamp_ns in published:  # it may still be of the images shown before
                matched.append((arrived - published[stamp_ns],
                                match.describe_seconds + match.match_seconds))
        return len(published), matched
