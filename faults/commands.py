"""Commands that write results: killed, interrupted, out of space, and with bad outputs."""

import functools
import mmap
import os
import random
import resource
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from faults.children import CaseError, Limits, run_cases
from faults.command_lines import (
    DONE,
    FAST,
    MOST_MIB,
    SECONDS,
    TRAINING,
    Command,
    Run,
    commands,
    is_whole,
    make_inputs,
    run_command,
)
from faults.file_systems import (
    can_mount,
    drop_privileges,
    enter_namespace,
    mount_read_only,
    mount_small,
    unmount,
)
from faults.outcome import DELETED, HALF, REFUSED, TRACEBACK, Outcome
from faults.workshop import digest_tree
from seqnet_ros.core.errors import MapError
from seqnet_ros.maps.manifest_file import MANIFEST
from seqnet_ros.maps.map_reader import verify_map

_OUR_CODE = '/seqnet_ros/'
# A case runs its command up to three times.
_LIMITS = Limits(mib=MOST_MIB, seconds=4 * SECONDS)
_WRITES = {'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.link', 'os.truncate', 'os.chmod',
           'shutil.rmtree'}
_FOREIGN = {'notes.txt': 'notes', '.out.old.txt': 'more notes', '.out.part': 'rows of mine',
            'out~1.txt': 'my copy', 'web/manifest.json': '{"name": "a web project"}'}
# Files that are appended to while a run goes on, and read to where they are whole.
_GROWING = ('events.out.tfevents', 'descriptors/')
_LEAST_DISK = 1 << 16


class Ground:
    """Inputs of commands, what they write undisturbed, and a folder for each case.

    Args:
        folder: a new folder.
        kind: of the commands.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if kind == TRAINING:  # its packages take seconds to import, in every child
            import seqnet_ros.training.jist.trainer
            import seqnet_ros.training.seqnet.trainer  # noqa: F401
        self.commands = commands(kind)
        self.inputs = make_inputs(folder / 'inputs', kind)
        self.given = digest_tree(self.inputs)
        self._folder = folder
        self._results: dict[str, Path] = {}

    def draw(self, count: int, chance: random.Random) -> list[Command]:
        """Return commands in turn, in an order that chance decides."""
        order = chance.sample(self.commands, len(self.commands))
        return [order[number % len(order)] for number in range(count)]

    def fresh(self) -> Path:
        """Return a folder that holds nothing but files of a user."""
        folder = self._folder / 'case'
        shutil.rmtree(folder, ignore_errors=True)
        return _put_foreign(folder)

    def run(self, command: Command, folder: Path, before: Callable[[], object] = lambda: None,
            repeated: bool = False) -> Run:
        """Run a command that writes to a folder."""
        return run_command(
            command.line(self.inputs, folder / command.output, repeated), before)

    def result(self, command: Command) -> Path:
        """Return a folder with what the undisturbed command writes."""
        if command.name not in self._results:
            folder = _put_foreign(self._folder / 'results' / command.name)
            done = self.run(command, folder)
            if done.status:
                raise RuntimeError(f'{command.name} ended with {done.status}: {done.said}')
            self._results[command.name] = folder
        return self._results[command.name]

    def check(self, command: Command, folder: Path) -> None:
        """Check what a command left in a folder.

        Raises:
            CaseError: a file of a user or an input is gone or changed, or a result is not whole.
        """
        found = digest_tree(folder)
        if not _foreign_digests().items() <= found.items():
            raise CaseError(DELETED, sorted(found))
        if digest_tree(self.inputs) != self.given:
            raise CaseError(DELETED, 'an input')
        expected = self.result(command)
        for name in found:
            path = folder / name
            if name in _FOREIGN or _is_unfinished(name):
                continue
            if path.name == MANIFEST:
                try:
                    verify_map(path.parent)
                except MapError as error:
                    raise CaseError(HALF, error) from error
            elif not ((path.parent / MANIFEST).is_file() or is_whole(path, expected / name)):
                raise CaseError(HALF, name)

    def is_complete(self, command: Command, folder: Path) -> bool:
        """Return whether a folder holds all files that the command writes."""
        names = {name for name in digest_tree(self.result(command)) if not _is_unfinished(name)}
        return names <= set(digest_tree(folder))


@functools.cache
def _ground(folder: Path, kind: str) -> Ground:
    """Return the ground of a campaign in some folder: its faults share inputs and results."""
    return Ground(folder / f'ground-{kind}', kind)


def _put_foreign(folder: Path) -> Path:
    for name, content in _FOREIGN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@functools.cache
def _foreign_digests() -> dict[str, str]:
    import hashlib

    return {name: hashlib.sha256(content.encode()).hexdigest()
            for name, content in _FOREIGN.items()}


def _is_unfinished(name: str) -> bool:
    parts = Path(name).parts
    return (any(part.startswith('.') for part in parts) or name.endswith('.part')
            or any(text in name for text in _GROWING))


class Moment(NamedTuple):
    """When a command is disturbed, counted from its first change of a file.

    Attributes:
        kind: 'change' of the file system, 'line' of our code, or 'time' of the process.
        number: changes, lines or seconds.
        number_of_signal: what it gets then.
    """

    kind: str
    number: float
    number_of_signal: int


class _Watch:
    """Counts what a command does from its first change below a folder, and disturbs it once.

    Args:
        folder: of the results.
        moment: when to disturb it; None only counts.
    """

    def __init__(self, folder: Path, moment: Moment | None) -> None:
        self._folder, self._moment = str(folder), moment
        self._shared = mmap.mmap(-1, 16)  # seen by the parent, too
        self._changes = self._lines = 0

    @property
    def counted(self) -> tuple[int, int]:
        """The changes and the lines of the process that was watched."""
        return struct.unpack('qq', self._shared[:])

    def begin(self) -> None:
        """Watch this process."""
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not (event in _WRITES or (event == 'open' and _is_writing(*arguments[1:]))):
            return
        path = arguments[0]
        if not (isinstance(path, str | bytes | os.PathLike)
                and os.fsdecode(path).startswith(self._folder)):
            return
        if not self._changes:
            self._begin_lines()
        self._changes += 1
        self._report('change', self._changes)

    def _begin_lines(self) -> None:
        moment = self._moment
        if moment is not None and moment.kind == 'time':
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, moment.number)
        elif moment is None or moment.kind == 'line':
            frame: FrameType | None = sys._getframe()
            while frame is not None:
                frame.f_trace = self._trace
                frame = frame.f_back
            sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if _OUR_CODE not in frame.f_code.co_filename:
            return None
        if event == 'line':
            self._lines += 1
            self._report('line', self._lines)
        return self._trace

    def _report(self, kind: str, count: int) -> None:
        moment = self._moment
        if moment is None:
            self._shared[:] = struct.pack('qq', self._changes, self._lines)
        elif moment.kind == kind and moment.number == count:
            os.kill(os.getpid(), moment.number_of_signal)


def _is_writing(mode: str | None, flags: int) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or any(
        letter in (mode or '') for letter in 'wax+')


def disturbed(outcome: Outcome, folder: Path, chance: random.Random, count: int,
              kind: str = FAST) -> None:
    """Kill or interrupt commands while they write, and repeat them on what they left."""
    ground = _ground(folder.parent, kind)
    counted: dict[str, tuple[int, int]] = {}

    def run(case: tuple[Command, str, float, int]) -> str:
        command, kind, share, number = case
        changes, lines = counted[command.name]
        moment = Moment(kind, {'change': 1 + int(share * changes), 'line': 1 + int(share * lines),
                               'time': 1e-6 + share}[kind], number)
        path = ground.fresh()
        watch = _Watch(path, moment)
        done = ground.run(command, path, watch.begin)
        if 'Traceback' in done.said:
            raise CaseError(TRACEBACK, done.said[-400:])
        return _judge_repeated(ground, command, path)

    cases = [(command, chance.choice(('change', 'change', 'line', 'time')), chance.random(),
              chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)))
             for command in ground.draw(count, chance)]
    for command in dict.fromkeys(case[0] for case in cases):
        ground.result(command)
        watch = _Watch(path := ground.fresh(), None)
        ground.run(command, path, watch.begin)
        counted[command.name] = watch.counted
    run_cases(cases, run, outcome, _LIMITS, lambda case: f'{case[0].name}, {case[1:]}')


def _judge_repeated(ground: Ground, command: Command, path: Path) -> str:
    """Look at what a disturbed command left, repeat it, and look again."""
    ground.check(command, path)
    complete = ground.is_complete(command, path)
    again = ground.run(command, path, repeated=True)
    if again.ending == REFUSED and not complete and command.again:
        again = ground.run(command, path)  # nothing was kept yet
    if again.require(DONE, REFUSED) == REFUSED and not complete:
        return 'left something in the way'
    ground.check(command, path)
    return 'complete' if complete else 'done when repeated'


def no_space(outcome: Outcome, folder: Path, chance: random.Random, count: int,
             kind: str = FAST) -> None:
    """Let commands write to a small disk, or where files may not grow beyond a size."""
    ground = _ground(folder.parent, kind)
    mounts = can_mount()
    cases = [(command, mounts and chance.random() < 0.5, chance.random())
             for command in ground.draw(count, chance)]
    sizes = {command.name: _size(ground.result(command)) for command, _, _ in cases}

    def run(case: tuple[Command, bool, float]) -> str:
        command, small_disk, share = case
        path = ground.fresh()
        whole, largest = sizes[command.name]
        if not small_disk:
            limit = 1 + int(share * largest)
            return judge(command, path, ground.run(command, path, lambda: _limit_files(limit)))
        enter_namespace()
        mount_small(path, _LEAST_DISK + int(1.2 * share * whole))
        try:
            _put_foreign(path)
            return judge(command, path, ground.run(command, path))
        finally:
            unmount(path)

    def judge(command: Command, path: Path, done: Run) -> str:
        ending = done.require(DONE, REFUSED)
        if ending == DONE and not ground.is_complete(command, path):
            raise CaseError(HALF, 'it is not complete')
        ground.check(command, path)
        return ending

    run_cases(cases, run, outcome, _LIMITS, lambda case: f'{case[0].name}, {case[1:]}')


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _size(folder: Path) -> tuple[int, int]:
    """Return the bytes of all files of a folder, and of the largest."""
    sizes = [path.stat().st_size for path in folder.rglob('*') if path.is_file()]
    return sum(sizes), max(sizes)


def bad_outputs(outcome: Outcome, folder: Path, chance: random.Random, count: int,
                kind: str = FAST) -> None:
    """Give commands outputs that are in use, cannot be written, or are something else."""
    ground = _ground(folder.parent, kind)
    obstacles = [name for name in _OBSTACLES if name != _READ_ONLY or can_mount()]

    def run(case: tuple[Command, str]) -> str:
        command, obstacle = case
        path = ground.fresh()
        words = _OBSTACLES[obstacle](ground, command, path)
        before = _inventory(path)
        prepare = _PREPARED.get(obstacle)
        done = run_command(words, *[] if prepare is None else [prepare(path)])
        ending = done.require(DONE, REFUSED)
        if changed := before.items() - _inventory(path).items():
            raise CaseError(DELETED, sorted(changed))
        if digest_tree(ground.inputs) != ground.given:
            raise CaseError(DELETED, 'an input')
        return HALF if ending == DONE and obstacle in _PREPARED else ending

    cases = [(command, obstacle) for command in ground.commands for obstacle in obstacles
             if not (command.in_place and obstacle == _INPUT)]
    chance.shuffle(cases)
    for command, _ in cases[:count]:
        ground.result(command)
    run_cases(cases[:count], run, outcome, _LIMITS, lambda case: f'{case[0].name}, {case[1]}')


def _inventory(folder: Path) -> dict[str, tuple[int, str]]:
    """Return mode and content of everything in a folder."""
    digests = digest_tree(folder)
    return {name: (path.lstat().st_mode, str(path.readlink()) if path.is_symlink()
                   else digests.get(name, ''))
            for path in folder.rglob('*') if (name := str(path.relative_to(folder)))}


Obstacle = Callable[[Ground, Command, Path], list[str]]


def _placed(place: Callable[[Path], object], *names: str) -> Obstacle:
    """Return an obstacle: something that is made at the output, or below some names."""
    def words(ground: Ground, command: Command, path: Path) -> list[str]:
        output = path.joinpath(*names, command.output)
        place(output)
        return command.line(ground.inputs, output)

    return words


def _of_these_names(ground: Ground, command: Command, path: Path) -> list[str]:
    """Put other files where the command writes its own."""
    result = ground.result(command)
    for name in digest_tree(result):
        if name not in _FOREIGN and not _is_unfinished(name):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text('mine')
    return command.line(ground.inputs, path / command.output)


def _is_input(ground: Ground, command: Command, path: Path) -> list[str]:
    """Let a command write to what it reads."""
    name = next(word for word in command.words if word.startswith(':'))
    source, target = ground.inputs / name[1:], path / 'input'
    target = target.with_suffix(source.suffix)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    words = command.line(ground.inputs, target)
    return [str(target) if word == str(source) else word for word in words]


def _folder_with_a_file(output: Path) -> None:
    output.mkdir()
    (output / 'mine.txt').write_text('mine')


_INPUT = 'the input'
_READ_ONLY, _NO_PERMISSION = 'on a read-only disk', 'in a folder without permission'
_OBSTACLES: dict[str, Obstacle] = {
    'in a missing folder': _placed(lambda _: None, 'missing', 'folder'),
    'below a file': _placed(lambda _: None, 'notes.txt'),
    'a file': _placed(lambda output: output.write_text('mine')),
    'a link to a file': _placed(lambda output: output.symlink_to('notes.txt')),
    'a link to nothing': _placed(lambda output: output.symlink_to('nothing')),
    'a link to a missing folder': _placed(lambda output: output.symlink_to('missing/nothing')),
    'a link to itself': _placed(lambda output: output.symlink_to(output.name)),
    'a folder with a file': _placed(_folder_with_a_file),
    'files of these names': _of_these_names,
    'a pipe': _placed(os.mkfifo),
    'a name that is too long': _placed(lambda _: None, 300 * 'x'),
    _INPUT: _is_input,
    _READ_ONLY: _placed(lambda _: None),
    _NO_PERMISSION: _placed(lambda _: None),
}


def _with_read_only_disk(path: Path) -> Callable[[], None]:
    def prepare() -> None:
        enter_namespace()
        mount_read_only(path)

    return prepare


def _without_permission(path: Path) -> Callable[[], None]:
    def prepare() -> None:
        path.chmod(0o555)
        drop_privileges()

    return prepare


_PREPARED = {_READ_ONLY: _with_read_only_disk, _NO_PERMISSION: _without_permission}
"""Obstacles that only the process of the command meets; no command can write there."""
