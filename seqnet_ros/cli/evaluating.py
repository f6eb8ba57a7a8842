"""``seqnet_ros evaluate``: Recall@N of the methods of the SeqNet paper on arrays of descriptors."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from seqnet_ros.cli.console import print_fields, results, working
from seqnet_ros.cli.files import explain_write_errors
from seqnet_ros.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from seqnet_ros.evaluation.drives import Drive
    from seqnet_ros.evaluation.ground_truth import Recalls
    from seqnet_ros.evaluation.nearest import Predictions
    from seqnet_ros.evaluation.seqnet import Method
    from seqnet_ros.training.seqnet_run import SeqNetRun

HVPR = 'hvpr'
FIRST_STAGES = ('single', 'smooth', 'delta', 'seqnet', 's1')
METHODS = (*FIRST_STAGES, 'single+seqmatch', 's1+seqmatch', HVPR)
TOP_K = 20
_TRAINED = ('seqnet', 's1', 's1+seqmatch')


@dataclass(frozen=True)
class _Stage:
    """A method that is ready to search."""

    name: str
    length: int
    run: 'SeqNetRun | None'
    method: 'Method'


@dataclass(frozen=True)
class _Plan:
    """What is to be done: a search, or one whose result a second stage sorts.

    In place of the first stage there may be a file with its predictions.
    """

    name: str
    first: _Stage | Path
    second: _Stage | None = None
    top_k: int = TOP_K

    @property
    def stages(self) -> list[_Stage]:
        return [stage for stage in (self.first, self.second) if isinstance(stage, _Stage)]


@dataclass(frozen=True)
class _Measured:
    predictions: 'Predictions'
    recalls: 'Recalls'
    by_radius: 'np.ndarray'
    seconds: float

    @property
    def milliseconds_per_query(self) -> float:
        return 1000 * self.seconds / len(self.predictions.indices)


def evaluate(
    reference: Annotated[Path, typer.Option(
        help='Frame descriptors of the drive that is searched, .npy [N, D].',
        show_default=False)],
    query: Annotated[Path, typer.Option(
        help='Frame descriptors of the drive that asks, .npy [M, D].', show_default=False)],
    method: Annotated[str, typer.Option(
        help=f'One of {", ".join(METHODS)}.', show_default=False)],
    struct: Annotated[Path | None, typer.Option(
        help='A .db struct: positions of both drives and the radius of a match.',
        show_default=False)] = None,
    tolerance: Annotated[int | None, typer.Option(
        help='In place of a struct: rows at most this many frames apart match.',
        show_default=False)] = None,
    seqbounds_reference: Annotated[Path | None, typer.Option(
        help='First frame and one past the last of the sequence of every reference frame.',
        show_default='one sequence')] = None,
    seqbounds_query: Annotated[Path | None, typer.Option(
        help='The same for the query.', show_default='one sequence')] = None,
    seq_length: Annotated[int | None, typer.Option(
        '--seq-length', '-L', help='Frames per sequence.',
        show_default="seqnet: the checkpoint's; single, s1: 1")] = None,
    checkpoint: Annotated[Path | None, typer.Option(
        help='Folder of a SeqNet training run, or one of its checkpoints.',
        show_default=False)] = None,
    stage_one: Annotated[str | None, typer.Option(
        help=f'hvpr: first stage, one of {", ".join(FIRST_STAGES)}.',
        show_default='seqnet')] = None,
    candidates: Annotated[Path | None, typer.Option(
        help='hvpr: predictions of a first stage, .npz or .npy, in place of one.',
        show_default=False)] = None,
    match_checkpoint: Annotated[Path | None, typer.Option(
        help='hvpr: SeqNet run with kernel 1 that describes the frames to match.',
        show_default='frames as they are')] = None,
    match_length: Annotated[int | None, typer.Option(
        help='hvpr: frames per sequence of the second stage.',
        show_default="the first stage's")] = None,
    top_k: Annotated[int | None, typer.Option(
        help='hvpr: candidates of each query that are matched.',
        show_default=str(TOP_K))] = None,
    full_windows: Annotated[bool, typer.Option(
        '--full-windows', help='Leave out frames whose window does not fit their sequence.',
        show_default=False)] = False,
    reverse: Annotated[bool, typer.Option(
        '--reverse', help='The query was driven in the opposite direction.',
        show_default=False)] = False,
    compat: Annotated[bool, typer.Option(
        '--compat', help='Windows of too short sequences spill over, as in the published code.',
        show_default=False)] = False,
    predictions: Annotated[Path | None, typer.Option(
        help='Write predictions and distances to this .npz file.', show_default=False)] = None,
    original_npz: Annotated[Path | None, typer.Option(
        help="Write a results file of SeqNet's published code.", show_default=False)] = None,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the numbers to this file.', show_default=False)] = None,
) -> None:
    """Measure how often a method finds a true match of a query among its first N predictions.

    Queries without any true match are left out. hvpr sorts the candidates of a first stage by
    matching sequences frame by frame, the hierarchical method of the SeqNet paper.
    """
    _check_method(method, stage_one, {
        '--stage-one': stage_one, '--candidates': candidates, '--match-length': match_length,
        '--match-checkpoint': match_checkpoint, '--top-k': top_k})
    _check_truth(struct, tolerance)
    for output in (predictions, original_npz, json_path):
        _prepare_output(output)
    if method == HVPR:
        plan = _plan_hvpr(stage_one, seq_length, checkpoint, candidates, match_length,
                          match_checkpoint, TOP_K if top_k is None else top_k)
    else:
        plan = _Plan(method, _make_stage(method, seq_length, checkpoint))
    drives = (_open_drive(reference, seqbounds_reference), _open_drive(query, seqbounds_query,
                                                                       reverse))
    if full_windows:
        longest = max(stage.length for stage in plan.stages)
        drives = (drives[0].with_full_windows(longest), drives[1].with_full_windows(longest))
    *positions, radius = _read_truth(struct, tolerance, *drives)
    with working('searching'):
        measured = _measure(plan, drives, positions, radius, compat)
    document = {
        **_numbers(plan, measured), 'radius': radius, 'references': len(drives[0].rows),
        'reference': str(reference), 'query': str(query)}
    _write(measured, plan, drives, document, predictions, original_npz, json_path)
    _show(document, 'm' if struct is not None and positions[0].shape[1] > 1 else 'frames')


def _check_method(method: str, stage_one: str | None, of_hvpr: dict[str, object]) -> None:
    if method not in METHODS:
        raise InputError(f'the method is {method!r}, expected one of {", ".join(METHODS)}')
    if stage_one is not None and stage_one not in FIRST_STAGES:
        raise InputError(f'the first stage is {stage_one!r}, expected one of '
                         f'{", ".join(FIRST_STAGES)}')
    unused = [name for name, value in of_hvpr.items() if value is not None]
    if method != HVPR and unused:
        raise InputError(f'{unused[0]} was given with {method}, expected it with {HVPR} only')


def _check_truth(struct: Path | None, tolerance: int | None) -> None:
    if (struct is None) == (tolerance is None):
        found = 'neither' if struct is None else 'both'
        raise InputError(f'found {found} of --struct and --tolerance, expected one: it says which '
                         'frames truly match')


def _prepare_output(path: Path | None) -> None:
    """Find out before the search, which may take long, whether its results have a place."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f'output {path} is a folder, expected a file')
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def _make_stage(name: str, length: int | None, checkpoint: Path | None) -> _Stage:
    if name in _TRAINED and checkpoint is None:
        raise InputError(f'{name} needs a trained SeqNet, expected --checkpoint')
    from seqnet_ros.evaluation.seqnet import build_method
    from seqnet_ros.training.seqnet_run import load_run

    run = None if checkpoint is None else load_run(checkpoint)
    if length is None:
        length = _usual_length(name, run)
    if name == 's1' and length != 1:
        raise InputError(f'the sequence length of s1 is {length}, expected 1')
    layer = None if run is None else run.module
    return _Stage(name, length, run, build_method(_published_name(name), length, layer))


def _published_name(name: str) -> str:
    return 'seqnet' if name == 's1' else name


def _usual_length(name: str, run: 'SeqNetRun | None') -> int:
    if name in ('single', 's1'):
        return 1
    if name == 'seqnet' and run is not None:
        return run.length
    raise InputError(f'{name} needs to know the frames per sequence, expected --seq-length')


def _plan_hvpr(stage_one: str | None, length: int | None, checkpoint: Path | None,
               candidates: Path | None, match_length: int | None,
               match_checkpoint: Path | None, top_k: int) -> _Plan:
    if top_k < 1:
        raise InputError(f'--top-k is {top_k}, expected 1 or more')
    if candidates is not None and (stage_one is not None or checkpoint is not None):
        option = '--checkpoint' if stage_one is None else '--stage-one'
        raise InputError(f'{option} was given with --candidates, which replace the first stage, '
                         'expected one of the two')
    first: _Stage | Path = candidates or _make_stage(stage_one or 'seqnet', length, checkpoint)
    if isinstance(first, _Stage):
        length = first.length
    if match_length is None:
        match_length = length
    if match_length is None:
        raise InputError(f'{HVPR} with --candidates needs to know the frames per sequence, '
                         'expected --match-length')
    matching = 'single+seqmatch' if match_checkpoint is None else 's1+seqmatch'
    second = _make_stage(matching, match_length, match_checkpoint)
    return _Plan(HVPR, first, second, top_k)


def _open_drive(path: Path, bounds_path: Path | None, backwards: bool = False) -> 'Drive':
    from seqnet_ros.datasets.seqnet_files import open_descriptors, read_bounds
    from seqnet_ros.evaluation.drives import Drive

    bounds = None if bounds_path is None else read_bounds(bounds_path)
    descriptors = open_descriptors(path)
    try:
        return Drive.of(descriptors, bounds, backwards)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error


def _read_truth(struct: Path | None, tolerance: int | None, reference: 'Drive',
                query: 'Drive') -> tuple['np.ndarray', 'np.ndarray', float]:
    """Return the positions of the rows of both drives, and the radius of a match."""
    from seqnet_ros.datasets.db_struct import read_struct
    from seqnet_ros.evaluation.drives import row_positions

    if struct is None:
        return reference.rows[:, None], query.rows[:, None], float(tolerance or 0)
    content = read_struct(struct)
    return (*row_positions(content, reference, query), content.radius)


def _measure(plan: _Plan, drives: tuple['Drive', 'Drive'], positions: list['np.ndarray'],
             radius: float, compat: bool) -> _Measured:
    from seqnet_ros.evaluation.ground_truth import matches_within, recall_at, recalls_by_radius

    truth = matches_within(positions[0], positions[1], radius)
    started = time.perf_counter()
    found = _search(plan, drives, compat)
    seconds = time.perf_counter() - started
    return _Measured(found, recall_at(found.indices, truth),
                     recalls_by_radius(found.indices, positions[0], positions[1]), seconds)


def _search(plan: _Plan, drives: tuple['Drive', 'Drive'], compat: bool) -> 'Predictions':
    from seqnet_ros.evaluation.seqnet import SequenceMatching, rerank, search

    matching = None if plan.second is None else plan.second.method
    if not isinstance(matching, SequenceMatching):
        return search(plan.stages[0].method, *drives, compat=compat)
    candidates = (search(plan.first.method, *drives, plan.top_k, compat).indices
                  if isinstance(plan.first, _Stage)
                  else _read_candidates(plan.first)[:, :plan.top_k])
    return rerank(matching, *drives, candidates, compat)


def _read_candidates(path: Path) -> 'np.ndarray':
    """Read int64 ``[M, K]``, of an ``.npz`` file the array ``preds``."""
    import numpy as np

    from seqnet_ros.datasets.seqnet_files import read_predictions

    if path.suffix != '.npy':
        return read_predictions(path)
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f'{path} does not exist') from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f'{path} is not a whole .npy file of numbers: {error}') from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in 'iu':
        found = (f'{array.dtype} {list(array.shape)}' if isinstance(array, np.ndarray)
                 else 'several arrays')
        raise InputError(f'{path} holds {found}, expected whole numbers [M, K]')
    return array.astype(np.int64)


def _numbers(plan: _Plan, measured: _Measured) -> dict[str, Any]:
    """Return what was measured, as JSON has it: null where no query has a match."""
    from seqnet_ros.evaluation.ground_truth import RECALL_NS, RECALL_RADII

    recalls = measured.recalls
    numbers: dict[str, Any] = {
        'method': plan.name,
        'seq_length': plan.first.length if isinstance(plan.first, _Stage) else None,
        'recall': {str(n): value for n, value in recalls.values.items()},
        'recall_by_radius': {
            f'{radius:g}': {str(n): None if value != value else value
                            for n, value in zip(RECALL_NS, row, strict=True)}
            for radius, row in zip(RECALL_RADII, measured.by_radius.tolist(), strict=True)},
        'queries': recalls.queries,
        'unmatched': recalls.unmatched,
        'milliseconds_per_query': measured.milliseconds_per_query,
    }
    if plan.second is not None:
        stage_one = plan.first.name if isinstance(plan.first, _Stage) else str(plan.first)
        numbers.update(stage_one=stage_one, match_length=plan.second.length, top_k=plan.top_k)
    return numbers


def _write(measured: _Measured, plan: _Plan, drives: tuple['Drive', 'Drive'],
           document: dict[str, Any], predictions: Path | None, original: Path | None,
           json_path: Path | None) -> None:
    import numpy as np

    from seqnet_ros.datasets.seqnet_files import SeqNetResults, write_results

    found = measured.predictions
    if predictions is not None:
        with _whole_file(predictions) as file:
            np.savez(file, preds=found.indices.astype(np.int64), distances=found.distances,
                     reference_rows=drives[0].rows, query_rows=drives[1].rows)
    if original is not None:
        write_results(SeqNetResults(found.indices, measured.recalls.values, measured.by_radius,
                                    _published_options(plan)), original)
    if json_path is not None:
        with _whole_file(json_path) as file:
            file.write((json.dumps(document, indent=1, allow_nan=False) + '\n').encode())


def _published_options(plan: _Plan) -> dict[str, Any]:
    from seqnet_ros.training.seqnet_run import DEFAULT_FLAGS

    stage = plan.stages[-1]
    options = {**DEFAULT_FLAGS, 'mode': 'test', 'split': 'test'}
    if stage.run is not None:
        options.update(stage.run.flags, mode='test', split='test', w=stage.run.kernel,
                       outDims=stage.run.out_dim)
    if isinstance(plan.first, Path):
        options['predictionsFile'] = str(plan.first)
    return {**options, 'pooling': _published_name(stage.name), 'seqL': stage.length}


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears complete or not at all."""
    part = path.with_name(f'{path.name}.part')
    with explain_write_errors(path):
        try:
            with part.open('wb') as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _show(document: dict[str, Any], unit: str) -> None:
    recalls = ', '.join(f'R@{n}: {value:.3f}' for n, value in document['recall'].items())
    results.print(Text(recalls, 'bold'), soft_wrap=True)
    frames = document['seq_length']
    described = 'given candidates' if frames is None else f'sequences of {frames}'
    if 'match_length' in document:
        described += (f", the first {document['top_k']} matched by sequences of "
                      f"{document['match_length']}")
    print_fields({
        'method': f"{document['method']}, {described}",
        'references': document['references'],
        'queries': f"{document['queries']}, and {document['unmatched']} without a match",
        'radius': f"{document['radius']:g} {unit}",
        'time': f"{document['milliseconds_per_query']:.3f} ms per query"})
