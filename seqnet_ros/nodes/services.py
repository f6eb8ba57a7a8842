"""Services whose responses wait for other threads of the node while images are processed."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future as ThreadFuture
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.nodes.error_log import describe_error


class StateError(SeqnetRosError):
    """A service was called in a lifecycle state in which it is not available."""


class ServiceGroup:
    """The services of a node, in callback groups of their own: one at a time, or concurrent.

    Args:
        node: the serving node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._group = MutuallyExclusiveCallbackGroup()
        self._concurrent = ReentrantCallbackGroup()

    def add(self, kind: Any, name: str, answer: Callable[[Any, Any], Any], *,
            concurrent: bool = False) -> None:
        """Offer a service.

        Args:
            kind: its type.
            name: its name.
            answer: takes request and response, and may be a coroutine.
            concurrent: other services, and this one, answer while it waits.
        """
        self._node.create_service(
            kind, name, answer, callback_group=self._concurrent if concurrent else self._group)

    async def wait(self, outcome: ThreadFuture) -> Any:
        """Wait for a job on another thread; return what it returns or raise what it raises."""
        executor = self._node.executor
        done: Any = Future(executor=executor)

        def finished(outcome: ThreadFuture) -> None:
            done.set_result(outcome)
            if executor is not None:
                executor.wake()

        outcome.add_done_callback(finished)
        return (await done).result()


async def answer_map_request(response: Any, job: Awaitable[str],
                             results: dict[type[SeqnetRosError], int]) -> Any:
    """Answer a service that does something with a map.

    Args:
        response: of a service with a numbered result and a message.
        job: does it, and returns the message.
        results: the result by kind of error; any other error is an undefined failure.
    """
    try:
        message = await job
    except Exception as error:
        response.result = next(
            (result for kind, result in results.items() if isinstance(error, kind)),
            response.RESULT_UNDEFINED_FAILURE)
        response.message = describe_error(error)
    else:
        response.result = response.RESULT_SUCCESS
        response.message = message
    return response
