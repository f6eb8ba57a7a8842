"""Searches with SeqNet's methods: which method, with which weights, on which windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.seqnet.method_names import (
    ALL,
    HVPR,
    S1,
    SEQMATCH,
    SINGLE,
    first_stages,
    is_named,
    methods,
)

if TYPE_CHECKING:
    import numpy as np

    from seqnet_ros.evaluation.nearest_neighbors import Predictions
    from seqnet_ros.evaluation.seqnet.evaluated_drives import Drives
    from seqnet_ros.evaluation.seqnet.methods import Method
    from seqnet_ros.sequences.seqnet_aggregators import SeqNet

TOP_K = 20
_TRAINED = ('seqnet', S1, S1 + SEQMATCH)
_OF_FRAMES = (S1, S1 + SEQMATCH)
_ONE_SPEED = (1.0,)


class TrainedSeqNet(Protocol):
    """A trained SeqNet: what a search needs of `seqnet_ros.training.seqnet.run`."""

    @property
    def module(self) -> 'SeqNet':
        """The network with its weights."""

    @property
    def length(self) -> int:
        """Frames per sequence in training."""

    @property
    def kernel(self) -> int:
        """Width of the temporal convolution, frames."""

    @property
    def out_dim(self) -> int:
        """Length of the sequence descriptors."""

    @property
    def flags(self) -> dict[str, Any]:
        """Options of the training, by the names of the published code."""


LoadRun = Callable[[Path], TrainedSeqNet]
"""Reads the weights of a training run, given its folder or one of its checkpoints."""


@dataclass(frozen=True)
class MethodChoice:
    """A method and its settings, by the names of the options; None where one was not given."""

    method: str
    length: int | None = None
    checkpoint: Path | None = None
    stage_one: str | None = None
    candidates: Path | None = None
    match_checkpoint: Path | None = None
    match_length: int | None = None
    top_k: int | None = None
    speeds: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Stage:
    """A method that is ready to search.

    Attributes:
        name: one of `methods` except hvpr.
        length: frames per window.
        run: the trained weights, if it has any.
        method: how windows are compared.
    """

    name: str
    length: int
    run: TrainedSeqNet | None
    method: 'Method'

    @property
    def published_name(self) -> str:
        """The pooling of the published code."""
        return 'seqnet' if self.name == S1 else self.name


@dataclass(frozen=True)
class Plan:
    """A search, or one whose result a second stage sorts.

    Attributes:
        name: one of `methods`.
        first: the search, or a file with its predictions.
        second: the stage that re-ranks them.
        top_k: number of predictions to re-rank.
    """

    name: str
    first: Stage | Path
    second: Stage | None = None
    top_k: int = TOP_K

    @property
    def stages(self) -> list[Stage]:
        """The stages that are run, in their order."""
        return [stage for stage in (self.first, self.second) if isinstance(stage, Stage)]

    @property
    def longest(self) -> int:
        """Frames of the longest window."""
        return max(stage.length for stage in self.stages)

    def search(self, drives: 'Drives', compat: bool) -> 'Predictions':
        """Search the reference for all queries.

        Raises:
            InputError: the drives do not fit the method or the candidates.
        """
        from seqnet_ros.evaluation.seqnet.methods import SequenceMatching, rerank, search

        pair = drives.reference, drives.query
        matching = None if self.second is None else self.second.method
        if not isinstance(matching, SequenceMatching):
            return search(self.stages[0].method, *pair, compat=compat)
        candidates = (search(self.first.method, *pair, self.top_k, compat).indices
                      if isinstance(self.first, Stage)
                      else _read_candidates(self.first)[:, :self.top_k])
        return rerank(matching, *pair, candidates, compat)


def plan_method(choice: MethodChoice, load_run: LoadRun) -> Plan:
    """Prepare one method.

    Args:
        choice: the method.
        load_run: reads its weights.

    Raises:
        InputError: the method is unknown, or an option is missing or does not apply to it.
        ModelError: the weights are damaged or not SeqNet's.
    """
    _check_options(choice)
    maker = _StageMaker(load_run)
    if choice.method == HVPR:
        return _plan_hvpr(choice, maker)
    return Plan(choice.method, maker.make(choice.method, choice.length, choice.checkpoint,
                                          choice.speeds))


def plan_all(choice: MethodChoice, load_run: LoadRun) -> tuple[list[Plan], dict[str, str]]:
    """Prepare all methods that the given weights allow.

    The frames of s1 and of sequence matching are described with ``match_checkpoint``, everything
    else with ``checkpoint``.

    Args:
        choice: the settings that the methods share.
        load_run: reads their weights.

    Returns:
        The plans, and why each of the others is skipped.

    Raises:
        InputError: the sequence length is missing, or an option applies to one method only.
        ModelError: weights are damaged or not SeqNet's.
    """
    _refuse(f'--method {ALL}', {'--stage-one': choice.stage_one,
                                '--candidates': choice.candidates})
    maker = _StageMaker(load_run)
    length = choice.length
    if length is None and choice.checkpoint is not None:
        length = maker.run_of(choice.checkpoint).length
    plans, left_out = [], {}
    for name in methods():
        of_frames = name in _OF_FRAMES
        weights = choice.match_checkpoint if of_frames else choice.checkpoint
        if weights is None and name in (*_TRAINED, HVPR):
            left_out[name] = 'needs --match-checkpoint' if of_frames else 'needs --checkpoint'
        elif name == HVPR:
            plans.append(_plan_hvpr(replace(choice, length=length), maker))
        else:
            plans.append(Plan(name, maker.make(
                name, None if name in (SINGLE, S1) else length,
                weights if name in _TRAINED else None,
                choice.speeds if name.endswith(SEQMATCH) else None)))
    return plans, left_out


def _check_options(choice: MethodChoice) -> None:
    method = choice.method
    if not is_named(method, methods):
        raise InputError(f'the method is {method!r}, expected one of {", ".join(methods())} or '
                         f'{ALL}')
    if choice.stage_one is not None and not is_named(choice.stage_one, first_stages):
        raise InputError(f'the first stage is {choice.stage_one!r}, expected one of '
                         f'{", ".join(first_stages())}')
    if method != HVPR:
        _refuse(method, {
            '--stage-one': choice.stage_one, '--candidates': choice.candidates,
            '--match-length': choice.match_length, '--match-checkpoint': choice.match_checkpoint,
            '--top-k': choice.top_k}, f' with {HVPR} only')
    if method in first_stages():
        _refuse(method, {'--speeds': choice.speeds}, ' with sequence matching only')


def _refuse(method: str, options: Mapping[str, object], expected: str = ' without it') -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f'{given[0]} was given with {method}, expected it{expected}')


class _StageMaker:
    """Makes stages; weights that several of them use are read once."""

    def __init__(self, load_run: LoadRun) -> None:
        self._load_run = load_run
        self._runs: dict[Path, TrainedSeqNet] = {}

    def run_of(self, checkpoint: Path) -> TrainedSeqNet:
        """Return the weights in a checkpoint."""
        if checkpoint not in self._runs:
            self._runs[checkpoint] = self._load_run(checkpoint)
        return self._runs[checkpoint]

    def make(self, name: str, length: int | None, checkpoint: Path | None = None,
             speeds: tuple[float, ...] | None = None) -> Stage:
        """Make a stage of any method except hvpr; the length may follow from name and weights."""
        if name in _TRAINED and checkpoint is None:
            raise InputError(f'{name} needs a trained SeqNet, expected --checkpoint')
        from seqnet_ros.evaluation.seqnet.methods import build_method

        run = None if checkpoint is None else self.run_of(checkpoint)
        if length is None:
            length = _usual_length(name, run)
        if name == S1 and length != 1:
            raise InputError(f'the sequence length of s1 is {length}, expected 1')
        method = build_method('seqnet' if name == S1 else name, length,
                              None if run is None else run.module, speeds or _ONE_SPEED)
        return Stage(name, length, run, method)


def _usual_length(name: str, run: TrainedSeqNet | None) -> int:
    if name in (SINGLE, S1):
        return 1
    if name == 'seqnet' and run is not None:
        return run.length
    raise InputError(f'{name} needs the number of frames per sequence, expected --seq-length')


def _plan_hvpr(choice: MethodChoice, maker: _StageMaker) -> Plan:
    top_k = TOP_K if choice.top_k is None else choice.top_k
    if top_k < 1:
        raise InputError(f'--top-k is {top_k}, expected 1 or more')
    if choice.candidates is not None and (choice.stage_one, choice.checkpoint) != (None, None):
        option = '--checkpoint' if choice.stage_one is None else '--stage-one'
        raise InputError(f'{option} was given with --candidates, which replace the first stage, '
                         'expected one of the two')
    first: Stage | Path = choice.candidates or maker.make(
        choice.stage_one or 'seqnet', choice.length, choice.checkpoint)
    match_length = choice.match_length
    if match_length is None:
        match_length = first.length if isinstance(first, Stage) else choice.length
    if match_length is None:
        raise InputError(f'{HVPR} with --candidates needs the number of frames per sequence, '
                         'expected --match-length')
    matching = (SINGLE if choice.match_checkpoint is None else S1) + SEQMATCH
    second = maker.make(matching, match_length, choice.match_checkpoint, choice.speeds)
    return Plan(HVPR, first, second, top_k)


def _read_candidates(path: Path) -> 'np.ndarray':
    """Read int64 ``[M, K]``, of an ``.npz`` file the array ``preds``."""
    import numpy as np

    from seqnet_ros.core.array_files import read_npy
    from seqnet_ros.datasets.seqnet.dataset_files import read_predictions

    if path.suffix != '.npy':
        return read_predictions(path)
    array = read_npy(path)
    if array.ndim != 2 or array.dtype.kind not in 'iu':
        raise InputError(f'{path} holds {array.dtype} {list(array.shape)}, expected whole numbers '
                         '[M, K]')
    return array.astype(np.int64)
