"""The service that drops the belief and waits for the next accepted match."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from seqnet_ros.localization.result import MatchResult
from seqnet_ros.msg import PlaceMatch
from seqnet_ros.nodes.error_log import describe_error
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.services import ServiceGroup
from seqnet_ros.srv import Relocalize

_RESULTS = Relocalize.Response


class _Outcome(NamedTuple):
    """How a request ends: a number of the service, a sentence, and the match."""

    result: int
    message: str
    match: PlaceMatch | None = None


class RelocalizeService:
    """Offers ``~/relocalize``; its response is sent when a match is accepted or time is up.

    The service waits beside the others, and no thread waits with it.

    Args:
        node: the serving node.
        services: the node's services.
        pipeline: its worker owns the engine.
        phase: returns the lifecycle state.
        forget: drops the belief, on the worker's thread; returns whether a map is loaded.
    """

    def __init__(self, node: Node, services: ServiceGroup, pipeline: ImagePipeline,
                 phase: Callable[[], str], forget: Callable[[], bool]) -> None:
        self._node = node
        self._services = services
        self._pipeline = pipeline
        self._phase = phase
        self._forget = forget
        self._waiting: Future[_Outcome] | None = None
        self._changing = threading.Lock()
        services.add(Relocalize, '~/relocalize', self._on_relocalize, concurrent=True)

    @property
    def waiting(self) -> bool:
        """Whether a request waits for a match."""
        return self._waiting is not None

    # The worker's thread.

    def note(self, result: MatchResult, match: PlaceMatch) -> None:
        """Answer with a match if it is accepted."""
        if result.accepted:
            self._end(_Outcome(_RESULTS.RESULT_SUCCESS, _describe(result), match))

    # Any thread.

    def cancel(self, why: str) -> None:
        """End the request that waits, if one does, with this sentence."""
        self._end(_Outcome(_RESULTS.RESULT_CANCELED, why))

    def lose_map(self) -> None:
        """End the request that waits, if one does, because no map is left."""
        self._end(_Outcome(_RESULTS.RESULT_NO_MAP, 'the maps were unloaded meanwhile'))

    def _end(self, outcome: _Outcome, successor: 'Future[_Outcome] | None' = None) -> None:
        with self._changing:
            waiting, self._waiting = self._waiting, successor
        if waiting is not None:
            waiting.set_result(outcome)

    # The executor's thread.

    async def _on_relocalize(self, request: Relocalize.Request,
                             response: Relocalize.Response) -> Relocalize.Response:
        try:
            outcome = self._refusal(request) or await self._relocalize(request.timeout)
        except Exception as error:
            outcome = _Outcome(_RESULTS.RESULT_UNDEFINED_FAILURE, describe_error(error))
        response.result, response.message = outcome.result, outcome.message
        if outcome.match is not None:
            response.match = outcome.match
        return response

    def _refusal(self, request: Relocalize.Request) -> _Outcome | None:
        """Return why a request is refused at once, None where it is not."""
        if not (math.isfinite(request.timeout) and request.timeout >= 0):
            return _Outcome(_RESULTS.RESULT_INVALID_TIMEOUT,
                            f'the timeout is {request.timeout:g}, expected seconds or 0')
        if self._phase() != 'active':
            return _Outcome(_RESULTS.RESULT_UNDEFINED_FAILURE,
                            f'the node is {self._phase()}: activate it first')
        if self._pipeline.paused:
            return _Outcome(_RESULTS.RESULT_NO_INPUT, 'the node is paused: resume it first')
        return None

    async def _relocalize(self, timeout_s: float) -> _Outcome:
        timeout_s = timeout_s or float(self._node.get_parameter('relocalize_timeout_s').value)
        processed = self._pipeline.statistics.processed
        waiting: Future[_Outcome] = Future()

        def begin() -> None:
            # Between two images: what was accepted before does not answer.
            if not self._forget():
                waiting.set_result(_Outcome(_RESULTS.RESULT_NO_MAP, 'no map is loaded'))
                return
            self._end(_Outcome(_RESULTS.RESULT_CANCELED,
                               'another request took the place of this one'), waiting)

        def give_up() -> None:
            timer.cancel()
            if self._pipeline.statistics.processed == processed:
                outcome = _Outcome(_RESULTS.RESULT_NO_INPUT, f'no image in {timeout_s:g} s')
            else:
                outcome = _Outcome(_RESULTS.RESULT_TIMEOUT,
                                   f'no match was accepted in {timeout_s:g} s')
            if self._waiting is waiting:
                self._end(outcome)

        await self._pipeline.run(begin)
        timer: Any = self._node.create_timer(
            timeout_s, give_up, clock=Clock(clock_type=ClockType.STEADY_TIME))
        try:
            return await self._services.wait(waiting)
        finally:
            self._node.destroy_timer(timer)


def _describe(result: MatchResult) -> str:
    assert result.best is not None
    return f'place {result.best.place_id} of map {result.best.map_id}'
