"""Commands that write results, with small inputs, and how to tell whole results from half ones."""

import json
import os
import signal
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from faults.children import CaseError, resident_bytes
from faults.outcome import ENDLESS, KILLED, MEMORY, REFUSED, TRACEBACK
from faults.workshop import make_map, picture, small_model
from seqnet_ros.core.documents import parse_yaml
from seqnet_ros.datasets.jist.sequence_writer import frame_name, write_jpeg
from seqnet_ros.datasets.recordings.bag_writer import BagWriter
from seqnet_ros.maps.map_archive import export_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.training.seqnet.run import SeqNetRun, save_run
from seqnet_town import DAY, OVERCAST, Camera, Drive, Town

SECONDS = 60
"""CPU time of a command, at most."""
MOST_MIB = 1500.0
"""Growth of memory by a command, at most."""
DONE = 'done'
FAST, SLOW, TRAINING = 'fast', 'slow', 'training'
_PATIENCE = 10
_FAILED, _BAD_INPUT = 1, 2

_MODEL = {'name': 'small', 'image': {'height': 64, 'width': 64},
          'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 5}}
_NETWORK = {'image': {'height': 32, 'width': 40}, 'weights': {'random': True},
            'frame': {'kind': 'network', 'backbone': 'mobilenet_v2', 'layer': 4,
                      'pooling': {'kind': 'gem', 'fc_dim': 32}}}
_JIST = {'image_size': 32, 'image_batch_size': 4, 'min_images': 4, 'cells_apart': 3,
         'angles_apart': 1, 'groups': 2, 'frozen_layers': 0, 'length': 3, 'epochs': 1,
         'sub_epochs': 2, 'queries': 4, 'drawn': 20, 'negatives': 2, 'positive_radius': 3,
         'negative_radius': 8, 'radius': 4}


@dataclass(frozen=True)
class Command:
    """A command that writes results to the path ``out``.

    Attributes:
        name: a short name.
        words: the command with its arguments; paths are relative to the folder of the inputs.
        output: name of the result.
        again: further words of a repetition, where the result of an interrupted run is there.
        package: a package that it needs.
        kind: `FAST`, `SLOW` or `TRAINING`.
        in_place: whether the result may replace the input.
    """

    name: str
    words: Sequence[str]
    output: str = 'out'
    again: tuple[str, ...] = ()
    package: str = 'torch'
    kind: str = FAST
    in_place: bool = False

    def line(self, inputs: Path, output: Path, repeated: bool = False) -> list[str]:
        """Return the command line.

        Args:
            inputs: folder of `make_inputs`.
            output: path of the result.
            repeated: go on with what an interrupted run has left, where the command can.
        """
        words = [str(inputs / word[1:]) if word.startswith(':') else word for word in self.words]
        words = [word.replace('{out}', str(output)) for word in words]
        if repeated and self.again:
            words = [*words[:2], *self.again]
        return [*words, '--output', str(output)]


_PAIR = ('--map-source', ':first', '--query-source', ':second', '--model', ':small.yaml')

COMMANDS = (
    Command('describe', ('describe', ':images', '--model', ':small.yaml'), 'out.npy'),
    Command('export', ('map', 'export', ':town'), 'out.zip'),
    Command('import', ('map', 'import', ':town.zip')),
    Command('coverage', ('map', 'coverage', ':town')),
    Command('merge', ('map', 'merge', ':part0.npz', ':part1.npz')),
    Command('split', ('map', 'collection', 'split', ':town', '--cell', '40')),
    Command('localize', ('localize', ':second', '--map', ':drive')),
    Command('loops', ('loops', ':second', '--model', ':small.yaml')),
    Command('dataset', ('dataset', 'create', ':first', ':second', '--radius', '5',
                        '--positive-radius', '3', '--model', ':small.yaml')),
    Command('reduction', ('models', 'fit-reduction', ':images', '--dim', '4', '--model',
                          ':small.yaml'), 'out.yaml'),
    Command('create', ('models', 'create', '--from', ':run', '--frame-model', ':small.yaml'),
            'out.yaml'),
    Command('bags', ('evaluate', 'bags', *_PAIR, '-L', '5'), kind=SLOW),
    Command('tune', ('tune', *_PAIR, '--search', 'filter.evidence=1,2', '--trials', '2'),
            kind=SLOW),
    Command('compare', ('compare', ':evaluated', ':evaluated'), kind=SLOW),
    Command('onnx', ('models', 'export', ':network.yaml', '--onnx'), 'out.yaml',
            package='onnxscript', kind=SLOW),
    Command('openvino', ('models', 'export', ':network.yaml', '--openvino'), 'out.yaml',
            package='openvino', kind=SLOW),
    Command('seqnet', ('train', 'seqnet', '--dataset', ':pairs', '--epochs', '3', '--kernel', '3',
                       '--out-dim', '8', '--device', 'cpu'),
            again=('--resume', '--device', 'cpu'), package='lightning', kind=TRAINING),
    Command('jist', ('train', 'jist', '--sequences', ':street/msls', '--images', ':street/sf_xl',
                     '--frame-model', ':network.yaml', '--recipe', ':jist.yaml', '--device',
                     'cpu'),
            again=('--resume', '--device', 'cpu'), package='lightning', kind=TRAINING),
    Command('refresh', ('map', 'refresh', ':drive', ':first', '--min-overlap', '10', '--report',
                        '{out}.json'), package='gtsam', kind=SLOW, in_place=True),
)


def commands(kind: str) -> list[Command]:
    """Return the commands of a kind whose packages are installed."""
    return [command for command in COMMANDS
            if command.kind == kind and find_spec(command.package) is not None]


def make_inputs(folder: Path, kind: str) -> Path:
    """Write what the commands of a kind read to a new folder, and return it."""
    folder.mkdir(parents=True)
    (folder / 'small.yaml').write_text(yaml.safe_dump(_MODEL))
    (folder / 'network.yaml').write_text(yaml.safe_dump(_NETWORK))
    (folder / 'jist.yaml').write_text(yaml.safe_dump(_JIST))
    for number in range(12):
        write_jpeg(picture(number), folder / 'images' / f'{number:03}.jpg')
    town = Town(7, (2, 1))
    for name, light, length, seed in (('first', DAY, 40.0, 1), ('second', OVERCAST, 45.0, 2)):
        _record(folder / name, Drive(town, light, Camera(64, 48), length=length, speed=9.0,
                                     seed=seed, start_ns=seed * 10**15))
    save_map(make_map(small_model()), folder / 'town')
    export_map(folder / 'town', folder / 'town.zip')
    if kind == TRAINING:
        _write_street(folder / 'street')
    save_run(SeqNetRun(SeqNet(small_model().describer.dim, 8, 3)), folder / 'run')
    small = ('--model', str(folder / 'small.yaml'))
    first, second = str(folder / 'first'), str(folder / 'second')
    for words in (
            ['map', 'build', first, *small, '--output', 'drive'],
            *(['map', 'build', first, *small, '--shard', f'{number}/2', '--output',
               f'part{number - 1}.npz'] for number in (1, 2)),
            ['dataset', 'create', first, second, *small, '--radius', '5', '--positive-radius', '3',
             '--split', 'train', '--output', 'pairs'],
            *([['evaluate', 'bags', '--map-source', first, '--query-source', second, *small,
                '-L', '5', '--output', 'evaluated']] if kind == SLOW else [])):
        done = run_command([*words[:-1], str(folder / words[-1])])
        if done.status:
            raise RuntimeError(f'{words} ended with {done.status}: {done.said}')
    return folder


def _record(path: Path, drive: Drive) -> None:
    with BagWriter(path) as bag:
        for index in range(len(drive)):
            stamp = int(drive.stamps[index])
            bag.write_odometry('/odom', stamp, drive.poses[index])
            bag.write_image('/camera', stamp, drive.render(index), compressed=True)


def _write_street(folder: Path) -> None:
    """Write a street as sequences and as images, in the folders that JIST trains on."""
    for split in ('train', 'val'):
        for side in ('database', 'queries'):
            for meters in range(0, 40, 2):
                name = frame_name(500_000 + meters, 5_000_000, side, meters // 2, str(meters),
                                  'street', '2020')
                write_jpeg(picture(meters, 32), folder / 'msls' / split / side / side / name)
    for part in ('train', 'val/database', 'val/queries'):
        for meters in range(60):
            for light in range(2 if part == 'train' else 1):
                name = (f'@{500_000 + meters:.2f}@5000000.00@32@T@45.0@9.0@{light}-{meters}@@0@@@@'
                        '2020@@.jpg')
                write_jpeg(picture(meters, 32), folder / 'sf_xl' / part / name)


class Run(NamedTuple):
    """What became of a command.

    Attributes:
        status: exit status, negative for a signal.
        said: what it wrote to stdout and stderr.
        mib: growth of resident memory, MiB.
    """

    status: int
    said: str
    mib: float

    @property
    def ending(self) -> str:
        """How it ended, if nothing disturbed it."""
        if self.status < 0:
            slow = -self.status in (signal.SIGALRM, signal.SIGPROF)
            return ENDLESS if slow else KILLED
        if self.mib > MOST_MIB:
            return MEMORY
        errors = sum(line.startswith('Error: ') for line in self.said.splitlines())
        explained = errors == 1 or 'Usage: ' in self.said
        if 'Traceback' in self.said or self.status not in (0, _BAD_INPUT) or (
                self.status == _BAD_INPUT and not explained):
            return TRACEBACK
        return REFUSED if self.status else DONE

    def require(self, *endings: str) -> str:
        """Return how it ended.

        Raises:
            CaseError: in another way than one of these.
        """
        if self.ending not in endings:
            raise CaseError(TRACEBACK if self.ending == REFUSED else self.ending,
                             self.said[-400:])
        return self.ending


def run_command(words: Sequence[str], before: Callable[[], object] = lambda: None) -> Run:
    """Run a command in a forked process.

    Args:
        words: the command line.
        before: called in that process first.
    """
    with tempfile.TemporaryFile() as said:
        resident = resident_bytes()
        child = os.fork()
        if child == 0:
            try:
                _become_command(words, said.fileno(), before)
            finally:
                os._exit(_FAILED)
        _, status, used = os.wait4(child, 0)
        said.seek(0)
        return Run(os.waitstatus_to_exitcode(status), said.read().decode(errors='replace'),
                   (used.ru_maxrss * 1024 - resident) / (1 << 20))


def _become_command(words: Sequence[str], said: int, before: Callable[[], object]) -> None:
    for stream in (1, 2):
        os.dup2(said, stream)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(_PATIENCE * SECONDS)
    sys.argv = ['seqnet_ros', *words]
    try:
        from seqnet_ros.cli.main import main

        before()
        main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else bool(end.code))
    except BaseException:
        traceback.print_exc()


def is_whole(path: Path, expected: Path) -> bool:
    """Return whether a file of a result is one that the undisturbed command may write.

    Args:
        path: the file.
        expected: the same file of an undisturbed run.
    """
    content = path.read_bytes()
    if expected.is_file() and content == expected.read_bytes():
        return True
    try:
        _READERS.get(path.suffix, _unknown)(path)
    except Exception:
        return False
    return True


def _unknown(path: Path) -> None:
    raise ValueError(f'{path} differs')


def _tensors(path: Path) -> None:
    from seqnet_ros.descriptors.weights import read_tensors

    read_tensors(path)


def _torch(path: Path) -> None:
    from seqnet_ros.descriptors.weights import read_torch

    read_torch(path)


def _script(path: Path) -> None:
    json.loads(path.read_text().partition(' = ')[2].rstrip().removesuffix(';'))


def _struct(path: Path) -> None:
    from seqnet_ros.datasets.seqnet.db_struct import read_struct

    read_struct(path)


def _checksums(path: Path) -> None:
    assert all(len(line) == 64 for line in path.read_text().split())


def _table(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len({line.count(',') for line in lines}) == 1


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None


# Of files that differ from run to run: by times, stamps of creation, or an earlier state.
_READERS: dict[str, Callable[[Path], object]] = {
    '.json': lambda path: json.loads(path.read_text()),
    '.yaml': lambda path: parse_yaml(path.read_text(), str(path)),
    '.js': _script, '.npy': lambda path: np.load(path), '.safetensors': _tensors,
    '.ckpt': _torch, '.tar': _torch, '.pth': _torch, '.db': _struct,
    '.sha256': _checksums, '.csv': _table, '.zip': _archive}

