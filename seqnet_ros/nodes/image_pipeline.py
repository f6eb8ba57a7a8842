"""Images on their way from the topics to the one thread that owns the engine."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from seqnet_ros.core.camera import CameraModel
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.error_log import ErrorLog, describe_error
from seqnet_ros.nodes.inputs.camera_input import CameraInput, parse_base_from_camera
from seqnet_ros.nodes.inputs.image_input import ImageInput, StampedImage
from seqnet_ros.nodes.inputs.odometry_subscriber import OdometrySubscriber
from seqnet_ros.nodes.inputs.silence_watch import SilenceWatch
from seqnet_ros.nodes.services import ServiceGroup, StateError
from seqnet_ros.nodes.settings import NodeSettings
from seqnet_ros.nodes.statistics import Rates, Statistics
from seqnet_ros.nodes.worker import Worker

BYTES_PER_MB = 1_000_000
LAST_IMAGES_S = 3.0
"""How long a node that stops still processes the images that wait; launch kills it after 5 s."""


class ImagePipeline:
    """Inputs, worker thread and statistics of a node that takes images.

    Callbacks of topics only enqueue. The worker takes the newest image, and jobs between images.
    Offers the services ``~/pause``, ``~/resume`` and ``~/clear``.
    The node calls `open`, `start`, `stop` and `close` when it is configured, activated,
    deactivated and cleaned up.

    Args:
        node: the node that subscribes, serves and logs.
        services: the node's services.
        phase: returns the lifecycle state.
        process: takes an image, on the worker's thread.
        use_camera: takes a new calibration of the camera, on the worker's thread.
        clear: discards collected places or loaded maps, on the worker's thread; returns a message.

    Attributes:
        worker: the thread that owns the engine; runs from `open` to `close`.
        odometry: of the robot.
        camera: the calibration of the camera, once it is known.
        statistics: since the last `start`, as are ``errors``.
        errors: of images.
        paused: whether images are ignored.
    """

    def __init__(self, node: Node, services: ServiceGroup, phase: Callable[[], str], *,
                 process: Callable[[StampedImage], None],
                 use_camera: Callable[[CameraModel], None], clear: Callable[[], str]) -> None:
        self._node = node
        self._services = services
        self._phase = phase
        self._process = process
        self._use_camera = use_camera
        self._clear = clear
        self.statistics = Statistics()
        self.errors = ErrorLog(node.get_logger(), 'an image')
        self._rates = Rates()
        self.worker: Worker[StampedImage] = Worker(
            self._work, self.errors.add, f'{node.get_name()} worker')
        self.odometry = OdometrySubscriber(node)
        self.camera: CameraModel | None = None
        self.paused = False
        self._images: ImageInput | None = None
        self._camera_input: CameraInput | None = None
        self._silence: SilenceWatch | None = None
        services.add(Trigger, '~/pause', lambda _, response: self._set_paused(True, response))
        services.add(Trigger, '~/resume', lambda _, response: self._set_paused(False, response))
        services.add(Trigger, '~/clear', self._on_clear)

    # Lifecycle.

    def open(self, settings: NodeSettings, load: Callable[[], None]) -> None:
        """Start the worker and load the engine on its thread; raises what ``load`` raises.

        Raises:
            InputError: ``base_from_camera`` is invalid.
        """
        parse_base_from_camera(settings.base_from_camera)  # rejected now, while it can be corrected
        self.worker.start()
        self.worker.call(load)

    def start(self, settings: NodeSettings, cameras: int, calibrated: bool) -> None:
        """Subscribe.

        Args:
            settings: of the node.
            cameras: how many cameras there are.
            calibrated: subscribe to the calibration of the camera.
        """
        self.worker.capacity = settings.image_queue_mb * BYTES_PER_MB
        self.statistics = Statistics()
        self.errors.reset()
        self._rates = Rates()
        try:
            self._subscribe(settings, cameras, calibrated)
        except BaseException:
            self._unsubscribe()
            raise

    def stop(self) -> None:
        """Unsubscribe, and wait until the worker is idle.

        Images that wait in a queue are processed first, but not for longer than `LAST_IMAGES_S`.
        """
        self._unsubscribe()
        patience_s = LAST_IMAGES_S if self.worker.capacity else 0.0
        self.statistics.dropped += self.worker.drain(patience_s)

    def close(self) -> None:
        """Stop the worker."""
        self.worker.stop()
        self.camera = None

    def _subscribe(self, settings: NodeSettings, cameras: int, calibrated: bool) -> None:
        self.odometry.start(settings.use_odometry)
        if calibrated:
            self._camera_input = CameraInput(
                self._node, settings.base_from_camera, self._on_camera)
        self._images = images = ImageInput(self._node, settings, cameras, self._on_image)
        self._silence = SilenceWatch(
            self._node, self._silence_after_s, lambda: images.last_arrival_s,
            lambda silence_s: images.explain_silence(silence_s, self._silence_after_s()),
            f'images arrive on {images.topic} again')
        self._node.get_logger().info(f'listening to {images.topic}')

    def _unsubscribe(self) -> None:
        self.paused = False
        self.count_lost()
        for part in (self._silence, self._images, self._camera_input):
            if part is not None:
                part.close()
        self._silence = self._images = self._camera_input = None
        self.odometry.stop()

    @property
    def silent(self) -> bool:
        """Whether images are ignored, none arrived yet, or none for ``silence_after_s``."""
        images, silence = self._images, self._silence
        return (self.paused or images is None or silence is None
                or images.last_arrival_s is None or silence.silence_s >= self._silence_after_s())

    def _silence_after_s(self) -> float:
        return float(self._node.get_parameter('silence_after_s').value)

    # Inputs, on the executor's thread.

    def _on_image(self, image: StampedImage) -> None:
        self.statistics.received += 1
        if self.paused:
            self.statistics.ignored += 1
        else:
            self.statistics.dropped += self.worker.offer(image, image.size)

    def count_lost(self) -> None:
        """Take over what was lost on the way so far."""
        if self._images is not None:
            self.statistics.lost = self._images.lost
            self.statistics.missed = self._images.missed

    @property
    def cure_of_losses(self) -> str:
        """Advice against images that are lost on the way; empty while unsubscribed."""
        return '' if self._images is None else self._images.cure

    def _on_camera(self, camera: CameraModel) -> None:
        self.camera = camera
        self.worker.submit(lambda: self._use_camera(camera))

    # The worker's thread.

    def _work(self, image: StampedImage) -> None:
        self.statistics.processed += 1
        self._process(image)
        self.statistics.delay.add(time.monotonic() - image.received_s)

    def pose_at(self, stamp_ns: int) -> np.ndarray | None:
        """Return the pose ``[7]`` by odometry at a time, None where odometry does not know it."""
        pose = self.odometry.at(stamp_ns)
        if pose is None and self.odometry.subscribed:
            self.statistics.without_pose += 1
        return pose

    # Jobs for the worker's thread.

    async def run(self, job: Callable[[], Any], *, after_waiting: bool = False) -> Any:
        """Run a job on the worker's thread while the executor continues; for services.

        Args:
            job: what to run.
            after_waiting: run it after the images that wait, instead of before them.

        Raises:
            StateError: the node is not configured.
        """
        self.check_open()
        return await self._services.wait(self.worker.submit(job, after_waiting=after_waiting))

    def check_open(self) -> None:
        """Check that the worker runs.

        Raises:
            StateError: the node is not configured.
        """
        if not self.worker.running:
            raise StateError(f'the node is {self._phase()}: configure it first')

    def apply_settings(self, apply: Callable[[], None]) -> None:
        """Apply changed settings between two images, and log the reason where that fails."""
        if self._phase() not in ('inactive', 'active'):
            return

        def log_failure(done: Future) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                self._node.get_logger().error(f'the new settings were rejected: {error}')

        self.worker.submit(apply).add_done_callback(log_failure)

    # Services.

    def _set_paused(self, paused: bool, response: Trigger.Response) -> Trigger.Response:
        response.success = self._phase() == 'active'
        if not response.success:
            response.message = f'the node is {self._phase()}: activate it first'
            return response
        changed, self.paused = self.paused != paused, paused
        word = 'paused' if paused else 'running'
        response.message = word if changed else f'{word} already'
        return response

    async def _on_clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = await self.run(self._clear)
            response.success = True
        except Exception as error:
            response.message = describe_error(error)
        return response

    # Diagnostics, on the executor's thread.

    def report(self, report: Report) -> None:
        """Add the inputs to a report, while the node is active."""
        images, silence = self._images, self._silence
        if images is None or silence is None:
            return
        self.count_lost()
        counts, errors = self.statistics, self.errors
        rates = self._rates.update(
            received=counts.received, processed=counts.processed, dropped=counts.dropped,
            lost=counts.lost, bad=errors.unusable + errors.failures)
        report.hardware_id = images.frame_id or images.topic
        report.values.update({
            'image topic': images.topic,
            'image reliability': images.reliability,
            'images received': counts.received,
            'images received (1/s)': round(rates['received'], 1),
            'images lost on the way': counts.lost,
            'images lost on the way (1/s)': round(rates['lost'], 1),
            'images missed while suspended': counts.missed,
            'images dropped': counts.dropped,
            'images dropped (1/s)': round(rates['dropped'], 1),
            'images waiting': self.worker.waiting,
            'images waiting (MB)': round(self.worker.waiting_size / BYTES_PER_MB, 1),
            'images ignored while paused': counts.ignored,
            'images without those of the other cameras': images.incomplete,
            'image stamps corrected': images.corrected_stamps,
            'images processed': counts.processed,
            'images processed (1/s)': round(rates['processed'], 1),
            'images unusable': errors.unusable,
            'failures': errors.failures,
            'last error': errors.last_error,
            'images without pose': counts.without_pose,
            'subscriptions renewed': images.renewed,
            'odometry': self.odometry.describe(),
            **counts.describe.report('describe'),
            **counts.match.report('match'),
            **counts.delay.report('arrival to result'),
        })
        if self._camera_input is not None:
            report.values['camera'] = self._camera_input.describe()
        if self.paused:
            report.message = f'paused: {report.message}'
        if rates['bad']:
            report.level, report.message = Level.ERROR, errors.last_error
        elif warning := silence.warning or images.trouble:
            report.level, report.message = Level.WARN, warning
