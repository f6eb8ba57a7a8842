"""Two nodes of one name: services and parameters reach either of them."""

from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_PERIOD_S = 2.0


class NameWatch:
    """Warns while another node has the same full name.

    Args:
        node: the node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._warned = False
        # On the steady clock: simulated time may stand still.
        node.create_timer(_PERIOD_S, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def look(self) -> None:
        """Count the nodes of this name, and warn when there are several."""
        own: Any = (self._node.get_name(), self._node.get_namespace())
        found = sum(other == own for other in self._node.get_node_names_and_namespaces())
        if found > 1 and not self._warned:
            self._node.get_logger().warning(
                f'{found} nodes have the name {self._node.get_fully_qualified_name()}: services '
                'and parameters reach any one of them; rename one, for example with '
                '--ros-args -r __node:=NAME')
        self._warned = found > 1
