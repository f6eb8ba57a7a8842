"""A localizer that is asked everything at once, killed while it saves, and told wrong times."""

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from seqnet_ros.srv import FindPlace, LoadMap, Relocalize, SaveMap
from std_srvs.srv import Trigger

from faults.outcome import ACCEPTED, ENDLESS, HALF, KILLED, LOST, TRACEBACK, WRONG, Outcome
from seqnet_ros.core.errors import MapError, MapNotFoundError
from seqnet_ros.maps.map_reader import verify_map
from seqnet_ros.models.place_model import load_model
from soak.check_results import CheckResults
from soak.checks import check_match
from soak.endless_drive import EndlessDrive
from soak.errors import SoakError
from soak.node_process import NodeProcess
from soak.peer import Peer
from soak.streets import drive_streets, make_maps

_LAP_M = 70.0
_THREADS = 8
_PATIENCE_S = 60.0
_JUMPS_S = (-1e5, -30.0, -0.5, 0.5, 6.0, 3600.0, 1e6)
_PARAMETERS = {'device': 'cpu', 'diagnostics_period_s': 0.1, 'silence_after_s': 60.0,
               'sequence.length': 5}


class _Asker:
    """Calls services of the node, one after the other, on a thread of its own."""

    def __init__(self, maps: list[Path], folder: Path, seed: int, count: int) -> None:
        self._maps, self._folder, self._chance = maps, folder, random.Random(seed)
        self._number, self._count = seed, count
        self.answers: list[str] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node(f'asker_{self._number}', context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        clients: dict[str, Any] = {}
        try:
            for _ in range(self._count):
                kind, name, fields = self._request()
                if name not in clients:
                    clients[name] = node.create_client(kind, f'localizer/{name}')
                    if not clients[name].wait_for_service(_PATIENCE_S):
                        self.answers.append(ENDLESS)
                        return
                future = clients[name].call_async(kind.Request(**fields))
                executor.spin_until_future_complete(future, _PATIENCE_S)
                self.answers.append(ACCEPTED if future.done() else ENDLESS)
        finally:
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()

    def _request(self) -> tuple[Any, str, dict[str, Any]]:
        chance = self._chance
        path = str(chance.choice((*self._maps, self._folder / 'nothing', '\x1b[2J', 'x' * 5000)))
        return chance.choice((
            (LoadMap, 'load_map', {'path': path, 'add': chance.random() < 0.2}),
            (SaveMap, 'save_map', {'path': str(self._folder / f'copy_{chance.randrange(2)}'),
                                   'overwrite': chance.random() < 0.7}),
            (FindPlace, 'find_place', {}), (Relocalize, 'relocalize', {}),
            (Trigger, 'pause', {}), (Trigger, 'resume', {}), (Trigger, 'clear', {})))


def services_at_once(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Let eight threads call services, ``count`` times in all, while images stream."""
    maps = make_maps(load_model('hog', device='cpu'), folder, _LAP_M)
    with _localizer(maps[0], folder) as (node, peer, drive):
        askers = [_Asker(maps, folder, number, count // _THREADS) for number in range(_THREADS)]
        for asker in askers:
            asker.thread.start()
        while any(asker.thread.is_alive() for asker in askers):
            drive.go(5)
            try:
                node.check()
            except SoakError as error:
                outcome.add(KILLED, error)
                return
        for asker in askers:
            for answer in asker.answers:
                outcome.add(answer, 'no answer of a service')
        peer.call(LoadMap, 'load_map', path=str(maps[0]))
        peer.call(Trigger, 'resume')
        drive.go(chance.randrange(20, 30))
        _judge(outcome, node, peer)


def clock_jumps(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Let the clock of the images jump ``count`` times."""
    maps = make_maps(load_model('hog', device='cpu'), folder, _LAP_M)
    with _localizer(maps[0], folder) as (node, peer, drive):
        for _ in range(count):
            drive.jump(chance.choice(_JUMPS_S))
            drive.go(chance.randrange(5, 12))
            node.check()
            outcome.add(ACCEPTED)
        _judge(outcome, node, peer)


def kill_nodes(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Kill a localizer with SIGKILL while it saves its map over another one."""
    maps = make_maps(load_model('hog', device='cpu'), folder, _LAP_M)
    known = {verify_map(path).map_id for path in maps}
    target = folder / 'kept'
    for number in range(count):
        with _localizer(maps[number % 2], folder) as (node, peer, _):
            for _ in range(3):
                peer.ask(SaveMap, 'save_map', path=str(target), overwrite=True)
            time.sleep(chance.uniform(0, 0.4))
            node.signal(signal.SIGKILL)
        try:
            found = verify_map(target).map_id
        except MapNotFoundError:
            outcome.add('no map yet' if number == 0 else LOST, f'kill {number}')
        except MapError as error:
            outcome.add(HALF, error)
        else:
            outcome.add('whole map' if found in known else HALF, f'kill {number}')


class _localizer:  # noqa: N801 - a context manager
    """A running localizer, its peer and an endless drive."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._node = NodeProcess('localizer', {**_PARAMETERS, 'map': path},
                                 folder / 'localizer.log')

    def __enter__(self) -> tuple[NodeProcess, Peer, EndlessDrive]:
        self._node.__enter__()
        self._peer = Peer('localizer', self._node.check)
        self._peer.wait_until_active()
        drive = EndlessDrive(self._peer, drive_streets(1, _LAP_M), random.Random(0))
        return self._node, self._peer, drive

    def __exit__(self, *error: Any) -> None:
        self._peer.close()
        self._node.__exit__(*error)


def _judge(outcome: Outcome, node: NodeProcess, peer: Peer) -> None:
    findings = CheckResults()
    for arrived_s, match in peer.matches:
        check_match(match, arrived_s, peer.sent, findings)
    outcome.add(WRONG if findings else 'results checked', str(findings))
    if 'Traceback' in node.printed:
        outcome.add(TRACEBACK, node.printed[node.printed.index('Traceback'):][:500])
