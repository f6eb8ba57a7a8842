"""A lifecycle node whose transitions say why they failed."""

import traceback
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.name_watch import NameWatch
from seqnet_ros.nodes.ros_logging import PrintableLogs


class ManagedNode(PrintableLogs, LifecycleNode):
    """Turns the lifecycle transitions into four methods, and their errors into messages.

    rclpy would swallow an exception in a transition: here it becomes one line in the log and a
    failed transition, which can be tried again once its cause is corrected.

    Attributes:
        phase: the lifecycle state: 'unconfigured', 'inactive', 'active' or 'finalized'.
        trouble: why the last transition failed, empty where it did not.
    """

    def __init__(self, name: str, **options: Any) -> None:
        """Start unconfigured; options as for `rclpy.node.Node`."""
        super().__init__(name, **options)
        self.phase = 'unconfigured'
        self.trouble = ''
        NameWatch(self)

    @property
    def configured(self) -> bool:
        """Whether the node is inactive or active."""
        return self.phase in ('inactive', 'active')

    # What a node does in its transitions.

    @abstractmethod
    def configure(self) -> None:
        """Get everything ready; a `SeqnetRosError` fails the transition."""

    @abstractmethod
    def activate(self) -> None:
        """Start listening; a `SeqnetRosError` fails the transition."""

    @abstractmethod
    def deactivate(self) -> None:
        """Stop listening."""

    @abstractmethod
    def cleanup(self) -> None:
        """Release everything that `configure` made, even if it failed halfway."""

    # Transitions.

    def start(self) -> bool:
        """Configure and activate; return whether the node is active."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            return False
        return self.trigger_activate() == TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Get everything ready, or nothing."""
        return self._transition('configure', 'inactive', self._configure_or_clean_up,
                                super().on_configure, state)

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Start listening."""
        return self._transition('activate', 'active', self.activate, super().on_activate, state)

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Stop listening."""
        return self._transition('deactivate', 'inactive', self.deactivate,
                                super().on_deactivate, state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        """Release everything."""
        return self._transition('clean up', 'unconfigured', self.cleanup, super().on_cleanup,
                                state)

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        """Stop listening and release everything."""
        return self._transition('shut down', 'finalized', self.close, super().on_shutdown, state)

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """Release everything and return to the unconfigured state."""
        return self._transition('recover', 'unconfigured', self.close, super().on_error, state)

    def _configure_or_clean_up(self) -> None:
        try:
            self.configure()
        except BaseException:
            self.cleanup()
            raise

    def _transition(self, what: str, phase: str, act: Callable[[], None],
                    inherited: Callable[[Any], TransitionCallbackReturn],
                    state: Any) -> TransitionCallbackReturn:
        """Run a transition; an exception, which rclpy would swallow, is logged as a failure."""
        try:
            act()
        except (SeqnetRosError, OSError) as error:
            self.trouble = f'cannot {what}: {error}'
            self.get_logger().error(self.trouble)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.trouble = f'cannot {what}: {error!r}'
            self.get_logger().error(f'cannot {what}:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.FAILURE
        self.trouble = ''
        self.phase = phase
        return inherited(state)

    def close(self) -> None:
        """Stop everything, from whatever state."""
        try:
            if self.phase == 'active':
                self.deactivate()
        finally:
            self.phase = 'unconfigured'
            self.cleanup()

    def destroy_node(self) -> None:
        """Stop everything, then destroy the node."""
        try:
            self.close()
        finally:
            super().destroy_node()

    # Diagnostics: the first and the last part of a report.

    def report_state(self, report: Report) -> None:
        """Begin a report with the lifecycle state."""
        report.message = self.phase
        report.values['state'] = self.phase

    def report_trouble(self, report: Report) -> None:
        """End a report with the transition that failed, if one did."""
        if self.trouble:
            report.level, report.message = Level.ERROR, self.trouble
