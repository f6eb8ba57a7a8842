"""Whether the server is there, and whether it has newer tiles, asked now and then."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from seqnet_ros.core.errors import FleetError
from seqnet_ros.maps.fleet.server import FleetServer

_logger = logging.getLogger(__name__)


class ServerWatch:
    """Asks the server in a thread of its own, and logs once that it is away or back.

    Args:
        server: the server.
        every_s: how often, s.
        failure: why it is away at the start; None where it is there.
        versions: the version of each tile that is used, by name.
        dim: length of a sequence descriptor.
        tiles_here: returns how many tiles are here.
    """

    def __init__(self, server: FleetServer, every_s: float, failure: FleetError | None,
                 versions: Mapping[str, int], dim: int, tiles_here: Callable[[], int]) -> None:
        self._server = server
        self._every_s = every_s
        self._versions = versions
        self._query = np.zeros((1, dim), np.float32)
        self._tiles_here = tiles_here
        self._away_since: float | None = None
        self._lock = threading.Lock()
        self.replaced = 0
        """Number of tiles that are used and have a newer version on the server."""
        self._ended = threading.Event()
        if failure is not None:
            self.note_failure(failure)
        self._thread = threading.Thread(target=self._run, name='server watch', daemon=True)
        self._thread.start()

    @property
    def is_there(self) -> bool:
        """Whether the server answered last."""
        return self._away_since is None

    @property
    def away_s(self) -> float:
        """For how long the server has been away, s; 0 where it is there."""
        since = self._away_since
        return 0.0 if since is None else time.monotonic() - since

    def note_failure(self, error: FleetError) -> None:
        """Note that the server did not answer; it is not used until it answers this thread."""
        with self._lock:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        _logger.warning('%s: going on with the %d of %d tiles that are here', error,
                        self._tiles_here(), len(self._versions))

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                versions = self._server.versions(waits=False)
                if not self.is_there:  # the places come back later than the directory
                    self._server.search(self._query, 1)
                self._note_answer(versions)
            except FleetError as error:
                self.note_failure(error)

    def _note_answer(self, versions: Mapping[str, int]) -> None:
        replaced = sum(versions.get(tile, 0) > version for tile, version in self._versions.items())
        with self._lock:
            away_s, self._away_since = self.away_s, None
        if away_s:
            _logger.info('%s answers again after %.0f s', self._server.address, away_s)
        if replaced and replaced != self.replaced:
            _logger.warning('%d of the tiles in use were replaced on %s: load the map again to use '
                            'the new ones', replaced, self._server.address)
        self.replaced = replaced
