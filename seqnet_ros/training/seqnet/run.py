"""Training runs of SeqNet: a folder with two checkpoints and the options they were made with.

``<run>/checkpoints/{checkpoint.pth.tar,model_best.pth.tar,flags.json}`` is the layout of the
published code, which reads what is written here.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.core.documents import read_json
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.files import whole_file
from seqnet_ros.datasets.seqnet.published_options import DEFAULT_FLAGS
from seqnet_ros.descriptors.weights import load_strictly, read_torch, write_torch
from seqnet_ros.sequences.seqnet_aggregators import SeqNet

Which = Literal['latest', 'best']

FOLDER = 'checkpoints'
FLAGS = 'flags.json'
FILES: dict[Which, str] = {'latest': 'checkpoint.pth.tar', 'best': 'model_best.pth.tar'}

_PREFIX = 'pool.0.'
_WEIGHT, _BIAS = 'conv.weight', 'conv.bias'


@dataclass(frozen=True, eq=False)
class SeqNetRun:
    """A trained SeqNet.

    Attributes:
        module: the network with its weights, in evaluation mode, on the CPU.
        epoch: epochs trained.
        recalls: Recall@N of the validation by N, empty where there was none.
        best_score: the highest Recall@5 so far.
        flags: options of the training, by the names of the published code.
        optimizer: state of the optimizer, to train on, or None.
    """

    module: SeqNet
    epoch: int = 0
    recalls: dict[int, float] = field(default_factory=dict)
    best_score: float = 0.0
    flags: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] | None = None

    @property
    def kernel(self) -> int:
        """Width of the temporal convolution, frames."""
        return self.module.conv.kernel_size[0]

    @property
    def in_dim(self) -> int:
        """Length of the frame descriptors it takes."""
        return self.module.conv.in_channels

    @property
    def out_dim(self) -> int:
        """Length of the sequence descriptors it makes."""
        return self.module.conv.out_channels

    @property
    def length(self) -> int:
        """Frames per sequence in training; the kernel's width where the run does not say."""
        found = self.flags.get('seqL')
        return self.kernel if found is None else int(found)


def load_run(path: str | PathLike[str], which: Which = 'latest') -> SeqNetRun:
    """Load a run, without running any code in its files.

    Args:
        path: the folder of the run, or one of its checkpoint files, whose options are read if they
            are beside it.
        which: 'latest' or 'best', where a folder is given.

    Raises:
        InputError: there is no such run, or its options cannot be read.
        ModelError: the checkpoint is damaged or unsafe, or is no SeqNet of the stated size.
    """
    checkpoint = _checkpoint_file(Path(path), which)
    content = read_torch(checkpoint)
    module = _module(content, checkpoint)
    run = SeqNetRun(
        module, _number(content, 'epoch', checkpoint, int), _recalls(content, checkpoint),
        _number(content, 'best_score', checkpoint, float),
        _read_flags(checkpoint.with_name(FLAGS), required=Path(path).is_dir()),
        content.get('optimizer'))
    _check_flags(run, checkpoint)
    return run


def save_run(run: SeqNetRun, path: str | PathLike[str],
             which: Sequence[Which] = ('latest', 'best')) -> Path:
    """Write a run that `load_run` and the published code load.

    Args:
        run: a state of the training.
        path: the folder of the run.
        which: 'latest' or 'best'; an earlier state of this kind is replaced, the other one stays.

    Returns:
        The path.

    Raises:
        InputError: it cannot be written.
    """
    folder = Path(path) / FOLDER
    flags = {**DEFAULT_FLAGS, **run.flags, 'pooling': 'seqnet', 'w': run.kernel,
             'outDims': run.out_dim, 'seqL': run.length,
             # The published code appends this to the folder of the new run when it continues
             # training.
             'savePath': FOLDER}
    try:
        text = json.dumps(flags, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f'options of the run cannot be written as JSON: {error}') from error
    for name in which:
        write_torch(folder / FILES[name], _checkpoint_of(run, flags))
    with whole_file(folder / FLAGS) as file:
        file.write(text.encode())
    return Path(path)


def _checkpoint_file(path: Path, which: Which) -> Path:
    if which not in FILES:
        raise InputError(f'checkpoint {which!r} is unknown, expected {" or ".join(FILES)}')
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f'run {path} does not exist, expected the folder of a run')
    file = path / FOLDER / FILES[which]
    if not file.is_file():
        raise InputError(f'run {path} has no {FOLDER}/{FILES[which]}, expected the folder of a '
                         'SeqNet run')
    return file


def _module(content: Mapping[str, Any], origin: Path) -> SeqNet:
    state = content.get('state_dict')
    if not isinstance(state, Mapping):
        raise ModelError(f'checkpoint {origin} holds {_listed(content)}, expected a state_dict')
    tensors = {str(name).replace('module.', '').removeprefix(_PREFIX): value
               for name, value in state.items()}
    weight = tensors.get(_WEIGHT)
    if not isinstance(weight, Tensor) or weight.ndim != 3 or 0 in weight.shape:
        raise ModelError(f'checkpoint {origin} holds {_listed(state)}, expected the SeqNet weights '
                         f'{_PREFIX}{_WEIGHT} [out, in, kernel] and {_PREFIX}{_BIAS}')
    out_dim, in_dim, kernel = weight.shape
    with torch.device('meta'):
        module = SeqNet(in_dim, out_dim, kernel)
    load_strictly(module, {name: value.float() for name, value in tensors.items()
                           if isinstance(value, Tensor)}, str(origin))
    return module.eval()


def _listed(names: Mapping[str, Any]) -> str:
    return ', '.join(map(str, list(names)[:4])) or 'nothing'


def _number(content: Mapping[str, Any], name: str, origin: Path, kind: type) -> Any:
    value = content.get(name, 0)
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise ModelError(
            f'checkpoint {origin}: {name} is {value!r}, expected a number') from None


def _recalls(content: Mapping[str, Any], origin: Path) -> dict[int, float]:
    found = content.get('recalls') or {}
    try:
        return {int(n): float(value) for n, value in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise ModelError(
            f'checkpoint {origin}: recalls are {found!r}, expected numbers by N') from None


def _read_flags(file: Path, required: bool) -> dict[str, Any]:
    if not required and not file.is_file():
        return {}
    flags = read_json(file)
    if not isinstance(flags, dict):
        raise InputError(f'{file} holds a {type(flags).__name__}, expected the options of a run')
    return flags


def _check_flags(run: SeqNetRun, origin: Path) -> None:
    for name, actual in (('w', run.kernel), ('outDims', run.out_dim)):
        stated = run.flags.get(name)
        if stated is not None and stated != actual:
            raise ModelError(f'checkpoint {origin} has {name} {actual}, but {FLAGS} beside it says '
                             f'{stated}')
    length = run.flags.get('seqL')
    if length is not None and (not isinstance(length, int) or length < run.kernel):
        raise ModelError(f'{origin.with_name(FLAGS)} has seqL {length}, expected a whole number '
                         f'not below the kernel of {run.kernel} frames')


def _checkpoint_of(run: SeqNetRun, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of tensors and plain numbers."""
    state = run.module.state_dict()
    return {
        'epoch': int(run.epoch),
        'state_dict': OrderedDict((f'{_PREFIX}{name}', state[name].detach().cpu().float().clone())
                                  for name in (_WEIGHT, _BIAS)),
        'recalls': {int(n): float(value) for n, value in run.recalls.items()},
        'best_score': float(run.best_score),
        'optimizer': _plain(run.optimizer or _fresh_optimizer(run.module, flags)),
        'parallel': False,
    }


def _fresh_optimizer(module: SeqNet, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer before its first step, for a run without one."""
    rate = float(flags['lr'])
    if flags['optim'] == 'ADAM':
        return torch.optim.Adam(module.parameters(), lr=rate).state_dict()
    state = torch.optim.SGD(module.parameters(), lr=rate, momentum=float(flags['momentum']),
                            weight_decay=float(flags['weightDecay'])).state_dict()
    # A resumed step schedule reads its initial learning rate.
    state['param_groups'][0]['initial_lr'] = rate
    return state


def _plain(value: Any) -> Any:
    """Replace NumPy numbers, which safe readers reject, by plain ones."""
    if isinstance(value, Mapping):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(element) for element in value)
    return value.item() if isinstance(value, np.generic) else value
