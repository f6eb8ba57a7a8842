"""The bag player: plays a bag to the localizer once it is active, and tells whether it saw it."""

import signal
import subprocess
import sys
import time
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from pydantic import Field
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.errors import InputError, SeqnetRosError
from seqnet_ros.nodes.diagnostics import status_name
from seqnet_ros.nodes.executor import NodeExecutor
from seqnet_ros.nodes.parameters import declare_settings
from seqnet_ros.nodes.run import REFUSED, note_signals

NAME = 'bag_player'
_LOOK_S = 0.1
_LAST_REPORT_S = 10.0
_STOPPING_S = 5.0


class ReplayError(SeqnetRosError):
    """The bag was not played, or nothing of it was processed."""


class BagPlayerSettings(Settings):
    """Parameters of the bag player."""

    bag: str = Field('', description='Bag to play.')
    rate: float = Field(1.0, gt=0, le=1000, description='Speed of the replay.')
    loop: bool = Field(False, description='Play the bag in a loop.')
    watched: str = Field(
        'localizer', min_length=1, description='Node that must be active before the bag starts.')
    patience_s: float = Field(
        120.0, gt=0, le=86400, description='Maximum time until it is, s of wall time.')


class BagPlayerNode(Node):
    """Follows the reports of the watched node on ``/diagnostics``.

    Args:
        options: as for `rclpy.node.Node`.

    Raises:
        InputError: no bag is given.
        rclpy.exceptions.ParameterException: a value of a parameter is rejected.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME, **options)
        self.settings = declare_settings(self, BagPlayerSettings())
        if not self.settings.bag:
            raise InputError('the parameter bag is empty, expected the bag to play')
        self.watched = self.resolve_topic_name(self.settings.watched)
        self._status_name = status_name(self.watched)
        self.reports = 0
        self.level = DiagnosticStatus.OK
        self.message = ''
        self.values: dict[str, str] = {}
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 100)

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name == self._status_name:
                self.reports += 1
                self.level, self.message = status.level, status.message
                self.values = {item.key: item.value for item in status.values}

    @property
    def active(self) -> bool:
        """Whether the watched node is active.

        Raises:
            ReplayError: it could not be configured.
        """
        state = self.values.get('state')
        if state == 'unconfigured' and self.level == DiagnosticStatus.ERROR:
            raise ReplayError(f'{self.watched} did not become active: {self.message}')
        return state == 'active'

    def check_processed(self) -> None:
        """Check that the watched node could use an image.

        Raises:
            ReplayError: it could not.
        """
        received, processed, unusable = (
            int(self.values.get(key, 0))
            for key in ('images received', 'images processed', 'images unusable'))
        if processed <= unusable:
            raise ReplayError(
                f'{self.watched} processed no image of {self.settings.bag}: it received '
                f'{received} on {self.values.get("image topic", "no topic")}, {unusable} of them '
                f'unusable. {self.message}')


def play(node: BagPlayerNode, interrupted: list[int]) -> None:
    """Play the bag once the watched node is active.

    Args:
        node: which follows it.
        interrupted: becomes not empty when the replay is to end.

    Raises:
        ReplayError: the node is not active in time, the bag cannot be played, or none of it is
            processed.
    """
    executor = NodeExecutor()
    executor.add_node(node)
    settings = node.settings
    deadline_s = time.monotonic() + settings.patience_s
    while not node.active and not interrupted:
        if time.monotonic() > deadline_s:
            state = node.values.get('state', 'not there')
            raise ReplayError(f'{node.watched} is {state} after {settings.patience_s:g} s, '
                              'expected an active node')
        executor.spin_once(timeout_sec=_LOOK_S)
    if interrupted:
        return
    node.get_logger().info(f'{node.watched} is active: playing {settings.bag}')
    command = ['ros2', 'bag', 'play', settings.bag, '--clock', '--rate', f'{settings.rate:g}',
               *(['--loop'] if settings.loop else [])]
    try:
        player = subprocess.Popen(command)
    except OSError as error:
        raise ReplayError(f'`ros2 bag play` cannot be started: {error}') from error
    try:
        while player.poll() is None and not interrupted:
            executor.spin_once(timeout_sec=_LOOK_S)
    finally:
        _stop(player)
    if interrupted:
        return
    if player.returncode:
        raise ReplayError(f'`{" ".join(command)}` ended with status {player.returncode}')
    reports, deadline_s = node.reports, time.monotonic() + _LAST_REPORT_S
    while node.reports < reports + 2 and time.monotonic() < deadline_s and not interrupted:
        executor.spin_once(timeout_sec=_LOOK_S)
    node.check_processed()


def _stop(player: subprocess.Popen) -> None:
    if player.poll() is not None:
        return
    player.send_signal(signal.SIGINT)
    try:
        player.wait(_STOPPING_S)
    except subprocess.TimeoutExpired:
        player.kill()
        player.wait()


def main() -> None:
    """Play a bag; the status is 1 where nothing of it was processed, 2 for rejected parameters."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    interrupted = note_signals()
    status = 0
    try:
        node = BagPlayerNode()
        try:
            play(node, interrupted)
        except ReplayError as error:
            node.get_logger().fatal(str(error))
            status = 1
        finally:
            node.destroy_node()
    except (ParameterException, SeqnetRosError) as error:
        rclpy.logging.get_logger(NAME).fatal(str(error))
        status = REFUSED
    rclpy.try_shutdown()
    sys.exit(status)
