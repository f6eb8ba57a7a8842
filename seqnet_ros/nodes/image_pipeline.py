"""What the localizer and the mapper have in common: lifecycle, inputs, worker, diagnostics."""

import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from std_srvs.srv import Trigger

from seqnet_ros.camera import CameraModel
from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.config.settings import Settings
from seqnet_ros.errors import InputError, SeqnetRosError
from seqnet_ros.nodes.conversions import pose_from_odometry, stamp_to_ns
from seqnet_ros.nodes.diagnostics import Diagnostics, Level, Report
from seqnet_ros.nodes.failures import FailureLog
from seqnet_ros.nodes.inputs.camera_input import CameraInput, parse_base_from_camera
from seqnet_ros.nodes.inputs.image_input import ImageInput, StampedImage
from seqnet_ros.nodes.inputs.odometry_input import PATIENCE_S, make_odometry_buffer
from seqnet_ros.nodes.inputs.silence_watch import Heartbeat
from seqnet_ros.nodes.managed_node import ManagedNode
from seqnet_ros.nodes.parameters import NodeParameters
from seqnet_ros.nodes.settings import NodeSettings, user_path
from seqnet_ros.nodes.statistics import Rates, Statistics
from seqnet_ros.nodes.worker import Worker
from seqnet_ros.place_model import PlaceModel, load_model, load_preset

ODOMETRY_TOPIC = 'odometry'
ODOMETRY_FRAME = 'odom'
"""The frame of odometry that names none."""
_ODOMETRY_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50,
                           reliability=ReliabilityPolicy.BEST_EFFORT)


class StateError(SeqnetRosError):
    """A service was called in a lifecycle state that has no answer."""


class PlaceNode(ManagedNode):
    """A lifecycle node with an engine that takes images, one at a time, on one worker thread.

    Configuring loads the model and makes the engine, activating subscribes, deactivating
    unsubscribes, cleaning up forgets the engine. Callbacks only enqueue; the hooks `_open`,
    `_process` and `_before_inactive` run on the worker thread.
    """

    def __init__(self, name: str, settings: NodeSettings, engine: tuple[str, ...],
                 own: dict[str, Settings] | None = None, live: bool = False,
                 **options: Any) -> None:
        """Declare the parameters.

        Args:
            name: of the node.
            settings: the node's own settings with their defaults.
            engine: sections of the engine's settings that can be set, see `NodeParameters`.
            own: further settings of the node, see `NodeParameters`.
            live: the engine's settings can be changed on the way, see `_use_settings`.
            options: as of `rclpy.node.Node`.

        Raises:
            rclpy.exceptions.ParameterException: a value given at the start is refused.
        """
        super().__init__(name, **options)
        self.model: PlaceModel | None = None
        self._worker: Worker[StampedImage] | None = None
        self._images: ImageInput | None = None
        self._camera: CameraInput | None = None
        self.camera_model: CameraModel | None = None
        self._heartbeat: Heartbeat | None = None
        self._odometry_subscription: Any = None
        self._odometry_refused = False
        self._paused = False
        self.settings = NodeParameters(
            self, settings, engine, own or {}, lambda: self._phase, self._defaults,
            self._on_settings if live else None)
        self.statistics = Statistics()
        self.odometry = make_odometry_buffer()
        self.odometry_frame = ODOMETRY_FRAME
        self._rates = Rates()
        # Services wait for the worker: in a group of their own, so that images go on.
        self._serving = MutuallyExclusiveCallbackGroup()
        for service, act in (('pause', self._pause), ('resume', self._resume),
                             ('clear', self._clear)):
            self.create_service(Trigger, f'~/{service}', act, callback_group=self._serving)
        self._diagnostics = Diagnostics(
            self, self.get_parameter('diagnostics_period_s').value, self._report)

    # What the nodes fill in.

    def _defaults(self, settings: Any) -> Preset:
        """Return the model and the settings that the engine's parameters start from."""
        return load_preset(settings.model)[0]

    def _load_model(self, settings: Any, weights: Path | None) -> PlaceModel:
        """Load the model with its weights."""
        return load_model(settings.model, settings.device, weights)

    @abstractmethod
    def _open(self, settings: Any, model: PlaceModel, config: EngineConfig) -> None:
        """Make the engine; a `SeqnetRosError` refuses the configuration."""

    @abstractmethod
    def _process(self, image: StampedImage) -> None:
        """Give an image to the engine."""

    def _before_inactive(self) -> None:
        """Do what is due when images stop."""

    @abstractmethod
    def _close(self) -> None:
        """Forget the engine."""

    @abstractmethod
    def _forget_places(self) -> str:
        """Begin anew, on the worker's thread; return what was forgotten."""

    def _use_settings(self) -> None:
        """Take over changed settings of the engine, on the worker's thread."""

    def _use_camera(self, camera: CameraModel) -> None:
        """Take over the calibration of the camera, on the worker's thread."""

    @abstractmethod
    def _judge(self, report: Report) -> None:
        """Add the engine's details to a report, and raise its level where something is amiss."""

    # Transitions.

    def _configure(self) -> None:
        settings = self.settings.read()
        parse_base_from_camera(settings.base_from_camera)  # refused now, while it can be corrected
        worker = Worker(self._work, self._note_failure, f'{self.get_name()} worker')
        try:
            worker.call(lambda: self._load(settings))
        except BaseException:
            worker.stop()
            self._forget_engine()
            raise
        self._worker = worker

    def _load(self, settings: Any) -> None:
        weights = user_path(settings.weights) if settings.weights else None
        self.model = model = self._load_model(settings, weights)
        self._open(settings, model, self.settings.read_engine(self._defaults(settings)))
        self.get_logger().info(f'model {model.config.name} on {model.device.device} '
                               f'({model.device.why})')

    def _activate(self) -> None:
        self.statistics = Statistics()
        self._failures = FailureLog(self.get_logger(), self.statistics)
        self._rates = Rates()
        self.odometry = make_odometry_buffer()
        try:
            self._subscribe(self.settings.read())
        except BaseException:
            self._unsubscribe()
            raise

    def _subscribe(self, settings: Any) -> None:
        assert self.model is not None
        if settings.use_odometry:
            self._odometry_subscription = self.create_subscription(
                Odometry, ODOMETRY_TOPIC, self._on_odometry, _ODOMETRY_QOS)
        self._camera = self._make_camera_input(settings)
        self._images = ImageInput(self, settings, self.model.config.cameras, self._on_image)
        self._heartbeat = Heartbeat(
            self, self._images, lambda: float(self.get_parameter('silence_after_s').value))
        self.get_logger().info(f'listening to {self._images.topic}')

    def _make_camera_input(self, settings: Any) -> CameraInput | None:
        """Subscribe to the calibration of the camera, where anything needs it."""
        assert self.model is not None
        if self.model.engine.geometry is None or not settings.use_camera_info:
            return None
        worker = self._worker
        assert worker is not None

        def deliver(camera: CameraModel) -> None:
            self.camera_model = camera
            worker.submit(lambda: self._use_camera(camera))

        return CameraInput(self, settings.base_from_camera, deliver)

    def _deactivate(self) -> None:
        self._unsubscribe()
        assert self._worker is not None
        self._worker.drain()
        self._worker.call(self._before_inactive)

    def _unsubscribe(self) -> None:
        self._paused = False
        if self._heartbeat is not None:
            self._heartbeat.close()
        if self._images is not None:
            self._images.close()
        if self._camera is not None:
            self._camera.close()
        if self._odometry_subscription is not None:
            self.destroy_subscription(self._odometry_subscription)
        self._heartbeat = self._images = self._camera = self._odometry_subscription = None

    def _cleanup(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
            self._forget_engine()

    def _forget_engine(self) -> None:
        self._close()
        self.model = None
        self.camera_model = None

    # Inputs, on the executor's thread.

    def _on_image(self, image: StampedImage) -> None:
        assert self._worker is not None
        self.statistics.received += 1
        if self._paused:
            self.statistics.ignored += 1
        elif self._worker.offer(image):
            self.statistics.dropped += 1

    def _on_odometry(self, message: Odometry) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        try:
            if not stamp_ns:
                raise InputError('its stamp is zero, expected the time of the pose')
            pose = pose_from_odometry(message)
        except InputError as error:
            if not self._odometry_refused:
                self.get_logger().warning(f'odometry is left out: {error}')
            self._odometry_refused = True
            return
        self.odometry_frame = message.header.frame_id or ODOMETRY_FRAME
        self.odometry.add(stamp_ns, pose)

    def _on_settings(self) -> None:
        """Hand changed settings to the worker, and tell where they turn out not to work."""
        if self._worker is None or self._phase not in ('inactive', 'active'):
            return

        def tell(done: ThreadFuture) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                self.get_logger().error(f'the new settings are not used: {error}')

        self._worker.submit(self._use_settings).add_done_callback(tell)

    # Services that all nodes have.

    def _pause(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Leave images unread until `_resume`."""
        return self._set_paused(True, response)

    def _resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Look at images again."""
        return self._set_paused(False, response)

    def _set_paused(self, paused: bool, response: Trigger.Response) -> Trigger.Response:
        response.success = self._phase == 'active'
        if not response.success:
            response.message = f'the node is {self._phase}: activate it first'
            return response
        changed, self._paused = self._paused != paused, paused
        word = 'paused' if paused else 'running'
        response.message = word if changed else f'{word} already'
        return response

    async def _clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget what was collected and loaded."""
        try:
            response.message = await self._on_worker(self._forget_places)
            response.success = True
        except Exception as error:
            response.message = str(error) or type(error).__name__
        return response

    # The worker's thread.

    def _work(self, image: StampedImage) -> None:
        self.statistics.processed += 1
        self._process(image)
        self.statistics.delay.add(time.monotonic() - image.received_s)

    def _pose_at(self, stamp_ns: int) -> np.ndarray | None:
        pose = self.odometry.at(stamp_ns, PATIENCE_S)
        if pose is None and self._odometry_subscription is not None:
            self.statistics.without_pose += 1
        return pose

    def _note_failure(self, error: Exception) -> None:
        self._failures.note(error)

    async def _on_worker(self, job: Callable[[], Any]) -> Any:
        """Run a job on the worker thread while the executor goes on; for services.

        Raises:
            StateError: the node is not configured.
        """
        if self._worker is None:
            raise StateError(f'the node is {self._phase}: configure it first')
        return await self._awaited(self._worker.submit(job))

    async def _awaited(self, outcome: ThreadFuture) -> Any:
        """Wait for a job on another thread while the executor goes on."""
        executor = self.executor
        done: Any = Future(executor=executor)

        def finished(outcome: ThreadFuture) -> None:
            done.set_result(outcome)
            if executor is not None:
                executor.wake()

        outcome.add_done_callback(finished)
        return (await done).result()

    async def _answer(self, response: Any, name: str, use: Callable[[], Awaitable[str]],
                      nameless: SeqnetRosError,
                      results: dict[type[SeqnetRosError], int]) -> Any:
        """Answer a service that does something with a map at a path.

        Args:
            response: of a service with a numbered result and a message.
            name: the path asked for.
            use: does it, and returns what is to be said.
            nameless: the refusal of an empty path.
            results: which error is which result; others are an undefined failure.
        """
        try:
            if not name:
                raise nameless
            if self._worker is None:
                raise StateError(f'the node is {self._phase}: configure it first')
            message = await use()
        except Exception as error:
            response.result = next(
                (result for kind, result in results.items() if isinstance(error, kind)),
                response.RESULT_UNDEFINED_FAILURE)
            response.message = str(error) or type(error).__name__
        else:
            response.result = response.RESULT_SUCCESS
            response.message = message
        return response

    # Diagnostics, on the executor's thread.

    def _report(self) -> Report:
        report = Report(Level.OK, self._phase, {'state': self._phase})
        if self.model is not None:
            report.values.update({
                'model': self.model.config.name, 'device': self.model.device.device})
        if self._phase in ('inactive', 'active'):
            self._judge(report)
        if self._images is not None:
            self._report_input(report, self._images)
        if self._trouble:
            report.level, report.message = Level.ERROR, self._trouble
        return report

    def _report_input(self, report: Report, images: ImageInput) -> None:
        counts = self.statistics
        rates = self._rates.update(
            received=counts.received, processed=counts.processed, dropped=counts.dropped,
            bad=counts.unusable + counts.failures)
        report.values.update({
            'image topic': images.topic,
            'images received': counts.received,
            'images received per second': f'{rates["received"]:.1f}',
            'images dropped': counts.dropped,
            'images dropped per second': f'{rates["dropped"]:.1f}',
            'images ignored while paused': counts.ignored,
            'images without those of the other cameras': images.incomplete,
            'images processed': counts.processed,
            'images processed per second': f'{rates["processed"]:.1f}',
            'images unusable': counts.unusable,
            'failures': counts.failures,
            'last error': counts.last_error,
            'images without pose': counts.without_pose,
            'odometry': self._describe_odometry(),
            'describe': counts.describe,
            'match': counts.match,
            'arrival to result': counts.delay,
        })
        if self._camera is not None:
            report.values['camera'] = self._camera.describe()
        if self._paused:
            report.message = f'paused: {report.message}'
        if rates['bad']:
            report.level, report.message = Level.ERROR, counts.last_error
        elif self._heartbeat is not None and self._heartbeat.silent:
            report.level, report.message = Level.WARN, self._heartbeat.explain()

    def _describe_odometry(self) -> str:
        if self._odometry_subscription is None:
            return 'off'
        topic = self._odometry_subscription.topic_name
        restarts = f', started anew {self.odometry.restarts} times'
        return (f'on {topic}' + (restarts if self.odometry.restarts else '')
                if len(self.odometry) else f'none yet on {topic}')
