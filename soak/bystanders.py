"""Other processes beside a node: one saves maps, others join the ROS graph and leave it.

Run as a process: ``python -m soak.bystanders visit NODE SECONDS``, or ``save TARGET=VERSION,...``.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any

from soak.errors import SoakError

_LIFE_S = (1.0, 8.0)
_BETWEEN_S = (0.5, 5.0)
_SAVES_S = (0.1, 1.5)
_PATIENCE_S = 180.0
_ROOT = Path(__file__).parents[1]
_NO_SHARED_MEMORY = {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}
"""Who is killed does not share memory: where it holds a lock there, Fast DDS lets those who send to
it wait for ever (eProsima/Fast-DDS#5469), and then this test waits, too."""


class Bystanders:
    """Runs while the block lasts: visitors who come and go, and where there are maps a saver.

    Args:
        node: name of the node that is visited.
        folder: for the log.
        seed: decides who comes when.
        versions: for each map that is saved over and over, the maps that are saved there in turn.

    Attributes:
        happened: visitors who left, who were killed, and maps saved.
    """

    def __init__(self, node: str, folder: Path, seed: int,
                 versions: Mapping[Path, Sequence[Path]] | None = None) -> None:
        self._node, self._folder, self._chance = node, folder, random.Random(seed)
        self._versions = versions or {}
        self._saver: subprocess.Popen | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._invite, daemon=True)
        self._failed = ''
        self.happened: Counter[str] = Counter()

    @property
    def _log(self) -> Path:
        return self._folder / 'saver.log'

    def __enter__(self) -> 'Bystanders':
        """Start them."""
        if self._versions:
            with self._log.open('wb') as output:
                self._saver = _start('save', *(
                    f'{target}={",".join(map(str, sources))}'
                    for target, sources in self._versions.items()), output=output)
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise where a bystander failed.

        Raises:
            SoakError: a save failed, or a visitor did.
        """
        if self._saver is not None and self._saver.poll() is not None:
            raise SoakError(f'the process that saves maps ended: {self._log.read_text()[-1000:]}')
        if self._failed:
            raise SoakError(self._failed)

    def _invite(self) -> None:
        """Let visitors come; half of them are killed, as if their machine were switched off."""
        chance = self._chance
        while not self._over.wait(chance.uniform(*_BETWEEN_S)):
            killed, life_s = chance.random() < 0.5, chance.uniform(*_LIFE_S)
            visitor = _start('visit', self._node, str(life_s if not killed else 1e3),
                             environment=_NO_SHARED_MEMORY if killed else {})
            try:
                if killed:
                    self._over.wait(life_s)
                    visitor.send_signal(signal.SIGKILL)
                status = visitor.wait(life_s + _PATIENCE_S)
                if not killed and status:
                    self._failed = f'a visitor ended with status {status}'
                self.happened['visitor killed' if killed else 'visitor left'] += 1
            except subprocess.TimeoutExpired:
                self._failed = 'a visitor did not leave'
                visitor.kill()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End them."""
        self._over.set()
        self._thread.join(2 * _PATIENCE_S)
        if self._saver is not None:
            self._saver.kill()
            self._saver.wait()
            self.happened['map saved by another process'] = len(
                self._log.read_text().splitlines())


def _start(*arguments: str, output: IO[bytes] | None = None,
           environment: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen:
    path = os.pathsep.join((str(_ROOT), os.environ.get('PYTHONPATH', '')))
    return subprocess.Popen(
        [sys.executable, '-m', 'soak.bystanders', *arguments], stdout=output, stderr=output,
        env={**os.environ, **environment, 'PYTHONPATH': path})


def visit(name: str, life_s: float) -> None:
    """Listen to a node and ask it for its state, then leave."""
    import rclpy
    from lifecycle_msgs.srv import GetState
    from sensor_msgs.msg import Image
    from seqnet_ros.msg import PlaceMatch

    rclpy.init()
    node = rclpy.create_node(f'visitor_{os.getpid()}')
    for kind, topic in ((Image, 'image'), (PlaceMatch, f'{name}/place_match')):
        node.create_subscription(kind, topic, lambda _: None, 10)
    client: Any = node.create_client(GetState, f'{name}/get_state')
    end_s = time.monotonic() + life_s
    while time.monotonic() < end_s:
        if client.service_is_ready():
            client.call_async(GetState.Request())
        rclpy.spin_once(node, timeout_sec=0.05)
    node.destroy_node()
    rclpy.shutdown()


def save_in_turn(versions: Mapping[Path, Sequence[Path]]) -> None:
    """Save versions of maps over each other for ever; print a line for each."""
    from seqnet_ros.maps.map_reader import open_map
    from seqnet_ros.maps.map_writer import save_map

    maps = {target: [open_map(path) for path in paths] for target, paths in versions.items()}
    chance = random.Random(0)
    while True:
        target = chance.choice(sorted(maps))
        save_map(chance.choice(maps[target]), target, overwrite=True, backup=False)
        print(target, flush=True)
        time.sleep(chance.uniform(*_SAVES_S))


def main() -> None:
    """Run one bystander."""
    kind, *arguments = sys.argv[1:]
    if kind == 'visit':
        visit(arguments[0], float(arguments[1]))
    else:
        save_in_turn({Path(target): [Path(one) for one in sources.split(',')] for target, _, sources
                      in (argument.partition('=') for argument in arguments)})


if __name__ == '__main__':
    main()
