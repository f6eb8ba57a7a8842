"""A lifecycle node whose transitions say why they failed."""

import traceback
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from seqnet_ros.errors import SeqnetRosError


class ManagedNode(LifecycleNode):
    """Turns the transitions of the lifecycle into four hooks, and their errors into words.

    rclpy would swallow an exception in a transition: here it becomes one line in the log and a
    failed transition, which can be tried again once what was wrong is right.
    """

    def __init__(self, name: str, **options: Any) -> None:
        """Start unconfigured; options as of `rclpy.node.Node`."""
        super().__init__(name, **options)
        self._phase = 'unconfigured'
        self._trouble = ''

    # What the nodes fill in.

    @abstractmethod
    def _configure(self) -> None:
        """Get everything ready; a `SeqnetRosError` refuses the transition."""

    @abstractmethod
    def _activate(self) -> None:
        """Start listening."""

    @abstractmethod
    def _deactivate(self) -> None:
        """Stop listening."""

    @abstractmethod
    def _cleanup(self) -> None:
        """Forget what `_configure` made, if anything."""

    # Transitions.

    def start(self) -> bool:
        """Configure and activate; return whether the node is active."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            return False
        return self.trigger_activate() == TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        """Get everything ready."""
        return self._transition('configure', 'inactive', self._configure, super().on_configure,
                                state)

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Start listening."""
        return self._transition('activate', 'active', self._activate, super().on_activate, state)

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        """Stop listening."""
        return self._transition('deactivate', 'inactive', self._deactivate,
                                super().on_deactivate, state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        """Forget everything."""
        return self._transition('clean up', 'unconfigured', self._cleanup, super().on_cleanup,
                                state)

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        """Stop listening and forget everything."""
        return self._transition('shut down', 'finalized', self.close, super().on_shutdown, state)

    def on_error(self, state: Any) -> TransitionCallbackReturn:
        """Go back to the beginning."""
        return self._transition('recover', 'unconfigured', self.close, super().on_error, state)

    def _transition(self, what: str, phase: str, act: Callable[[], None],
                    inherited: Callable[[Any], TransitionCallbackReturn],
                    state: Any) -> TransitionCallbackReturn:
        """Act; rclpy would swallow an exception, so it becomes a line in the log and FAILURE."""
        try:
            act()
        except SeqnetRosError as error:
            self._trouble = f'cannot {what}: {error}'
            self.get_logger().error(self._trouble)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._trouble = f'cannot {what}: {error!r}'
            self.get_logger().error(f'cannot {what}:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.FAILURE
        self._trouble = ''
        self._phase = phase
        return inherited(state)

    def close(self) -> None:
        """Stop everything, from whatever state."""
        try:
            if self._phase == 'active':
                self._deactivate()
        finally:
            self._phase = 'unconfigured'
            self._cleanup()

    def destroy_node(self) -> None:
        """Stop everything, then destroy the node."""
        try:
            self.close()
        finally:
            super().destroy_node()
