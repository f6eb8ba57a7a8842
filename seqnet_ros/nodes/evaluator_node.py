"""The evaluator: matches and true poses in, metrics of the localizer out."""

import time
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.live_evaluation import LiveEvaluation
from seqnet_ros.evaluation.metrics.metric_fields import ACCEPTED, COUNTS, RECALLS, ROUTE, labelled
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.result_document import write_document
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.msg import Evaluation, PlaceMatch
from seqnet_ros.nodes.conversions import match_from_message, pose_from_message, stamp_to_ns
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Level, Report
from seqnet_ros.nodes.error_log import describe_error
from seqnet_ros.nodes.evaluation_message import evaluation_to_message
from seqnet_ros.nodes.inputs.message_input import MessageInput
from seqnet_ros.nodes.inputs.silence_watch import SilenceWatch
from seqnet_ros.nodes.name_watch import NameWatch
from seqnet_ros.nodes.parameters import declare_settings
from seqnet_ros.nodes.ros_logging import PrintableLogs
from seqnet_ros.nodes.run import run_plain
from seqnet_ros.nodes.settings import EvaluatorSettings, map_paths, user_path
from seqnet_ros.srv import SaveEvaluation

MATCH_TOPIC = 'place_match'
TRUTH_TOPIC = 'truth'
TRUTHS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    'odometry': (Odometry, lambda message: message.pose.pose),
    'pose': (PoseStamped, lambda message: message.pose),
    'pose_with_covariance': (PoseWithCovarianceStamped, lambda message: message.pose.pose)}
"""Type of the message by ``truth_type``, and where the pose is in it."""
_MATCH_QOS = QoSProfile(depth=100)
_TRUTH_QOS = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LOOK_S = 0.05
_IDLE = 20.0
"""Computing the metrics takes at most one in this many parts of the node's time."""


class EvaluatorNode(PrintableLogs, Node):
    """Evaluates every message on ``place_match`` with ``truth``, and publishes ``~/evaluation``.

    Args:
        options: as for `rclpy.node.Node`.

    Raises:
        InputError: no map is given, or it cannot be used for an evaluation.
        MapError: the map cannot be opened.
        rclpy.exceptions.ParameterException: a value of a parameter is rejected.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('evaluator', **options)
        NameWatch(self)
        settings = declare_settings(self, EvaluatorSettings())
        try:
            self.evaluation = self._open(settings)
        except Exception:
            super().destroy_node()
            raise
        self._settings = settings
        self._frame_id = ''
        self._changed = True
        self._next_s = 0.0
        kind, self._pose_in = TRUTHS[settings.truth_type]
        self.matches = MessageInput(
            self, PlaceMatch, MATCH_TOPIC, _MATCH_QOS, 'match', self._on_match)
        self.truth = MessageInput(
            self, kind, TRUTH_TOPIC, _TRUTH_QOS, 'true pose', self._on_truth)
        self._silences = (
            self._watch(self.matches, 'matches'), self._watch(self.truth, 'true poses'))
        self._metrics = self.evaluation.accumulator.compute()
        self._publisher = self.create_publisher(Evaluation, '~/evaluation', _LATCHED)
        self.create_service(Trigger, '~/reset', self._reset)
        self.create_service(SaveEvaluation, '~/save', self._save)
        self.create_timer(_LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.diagnostics = DiagnosticsReporter(
            self, settings.diagnostics_period_s, self._report)

    def _open(self, settings: EvaluatorSettings) -> LiveEvaluation:
        if not settings.map:
            raise InputError('the parameter map is empty, expected the directory of the map that '
                             'the localizer searches')
        maps = [open_map(path) for path in map_paths(settings.map)]
        degrees = None if settings.tolerance_deg == 180 else settings.tolerance_deg
        return LiveEvaluation(
            {one.manifest.map_id: one for one in maps},
            Tolerance(settings.tolerance_m, degrees=degrees), settings.planar,
            settings.truth_patience_s)

    # Inputs.

    def _watch(self, messages: MessageInput, name: str) -> SilenceWatch:
        return SilenceWatch(
            self, lambda: self._settings.silence_after_s, lambda: messages.last_arrival_s,
            messages.explain_silence, f'{name} arrive on {messages.topic} again')

    def _on_match(self, message: PlaceMatch) -> None:
        self._changed = True
        self.evaluation.check_map(message.map_id)
        self.evaluation.add_result(match_from_message(message), time.monotonic())
        self._frame_id = message.header.frame_id

    def _on_truth(self, message: Any) -> None:
        pose = pose_from_message(self._pose_in(message), 'true pose')
        stamp_ns = stamp_to_ns(message.header.stamp)
        if not stamp_ns:
            raise InputError('it has no stamp, expected the time of the pose')
        before = len(self.evaluation)
        self.evaluation.add_truth(stamp_ns, pose, time.monotonic())
        self._changed |= len(self.evaluation) != before

    # Output.

    def _look(self) -> None:
        """Evaluate matches that waited too long, and publish if there are new results."""
        before, now_s = len(self.evaluation), time.monotonic()
        self.evaluation.settle(now_s)
        self._changed |= len(self.evaluation) != before
        if self._changed and now_s >= self._next_s:
            self._publish()
            took_s = time.monotonic() - now_s
            self._next_s = now_s + max(self._settings.period_s, _IDLE * took_s)

    def _publish(self) -> None:
        self._changed = False
        self._metrics = self.evaluation.accumulator.compute()
        self._publisher.publish(evaluation_to_message(
            self.evaluation, self._metrics, self._frame_id,
            self.matches.errors.unusable))

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Discard all results."""
        response.message = (f'discarded {len(self.evaluation)} matches, and '
                            f'{self.evaluation.waiting} that waited for their true pose')
        self.evaluation.reset()
        self.matches.reset()
        self.truth.reset()
        self._publish()
        response.success = True
        return response

    def _save(self, request: SaveEvaluation.Request,
              response: SaveEvaluation.Response) -> SaveEvaluation.Response:
        """Write the evaluation so far."""
        if not len(self.evaluation):
            response.result = response.RESULT_NOTHING_TO_SAVE
            response.message = (f'no match has been evaluated yet, {self.evaluation.waiting} are '
                                'waiting for their true pose')
            return response
        try:
            response.message = self._write(request.path)
            response.result = response.RESULT_SUCCESS
        except InputError as error:
            response.result, response.message = response.RESULT_WRITE_FAILED, str(error)
        except Exception as error:
            response.result = response.RESULT_UNDEFINED_FAILURE
            response.message = describe_error(error)
        return response

    def _write(self, name: str) -> str:
        if not name:
            raise InputError('the path is empty, expected the JSON file to write')
        path = user_path(name)
        results = self.evaluation.results(self.evaluation.accumulator.compute())
        write_document(path, results.model_copy(update={
            'settings': self._settings.model_dump(mode='json')}))
        return (f'{path}: {len(self.evaluation)} matches, {self.evaluation.waiting} more are '
                'waiting for their true pose')

    # Diagnostics.

    def _report(self, report: Report) -> None:
        metrics, evaluation = self._metrics, self.evaluation
        report.message = 'judging'
        report.values.update({
            'matches': self.matches.received, 'matches evaluated': len(evaluation),
            'matches waiting for true poses': evaluation.waiting,
            'matches unusable': self.matches.errors.unusable,
            'true poses': self.truth.received,
            'true poses unusable': self.truth.errors.unusable,
            'map id': ', '.join(evaluation.map_ids), 'tolerance': evaluation.tolerance,
            **labelled((*COUNTS, *RECALLS), metrics),
            'most candidates': evaluation.most_candidates,
            **labelled((*ACCEPTED, *ROUTE), metrics),
            'last error': self.matches.errors.last_error or self.truth.errors.last_error,
        })
        trouble = [self.matches.trouble, self.truth.trouble,
                   *(silence.warning for silence in self._silences), evaluation.note(metrics)]
        if message := next(filter(None, trouble), ''):
            report.level, report.message = Level.WARN, message
        if self.matches.received and self.matches.errors.unusable == self.matches.received:
            report.level = Level.ERROR


def main() -> None:
    """Run the node until it is interrupted."""
    run_plain(EvaluatorNode)
