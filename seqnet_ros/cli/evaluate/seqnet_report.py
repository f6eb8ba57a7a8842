"""Output of the evaluation of SeqNet's methods."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from seqnet_ros.cli.console import print_fields, print_table, results
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import explain_write_errors, whole_file
from seqnet_ros.evaluation.seqnet.search_plans import Plan, Stage

if TYPE_CHECKING:
    from seqnet_ros.evaluation.metrics.search_metrics import (
        SearchedDrives,
        SearchMetrics,
        SearchResults,
        SearchTable,
    )
    from seqnet_ros.evaluation.metrics.search_run import SearchRun
    from seqnet_ros.evaluation.seqnet.evaluated_drives import Drives

_MEGABYTE = 1e6


def prepare_outputs(paths: Iterable[Path | None]) -> None:
    """Find out before the work, which may take long, whether its results have a place.

    Raises:
        InputError: a path is a folder, or its folder cannot be made.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f'output {path} is a folder, expected a file')
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)


def document_drives(drives: 'Drives', full_windows: int | None) -> 'SearchedDrives':
    """Return what the results say of the drives."""
    from seqnet_ros.evaluation.metrics.search_metrics import SearchedDrives

    return SearchedDrives(radius=drives.radius, unit=drives.unit,
                          references=len(drives.reference.rows), full_windows=full_windows,
                          **drives.origin)


def document_method(plan: Plan, found: 'SearchRun') -> 'SearchMetrics':
    """Return the metrics of a method."""
    from seqnet_ros.evaluation.metrics.ground_truth import RECALL_NS, RECALL_RADII
    from seqnet_ros.evaluation.metrics.search_metrics import SearchMetrics

    recalls, curve = found.recalls, found.curve
    second: dict[str, object] = {}
    if plan.second is not None:
        stage_one = plan.first.name if isinstance(plan.first, Stage) else str(plan.first)
        second = {'stage_one': stage_one, 'match_length': plan.second.length, 'top_k': plan.top_k}
    return SearchMetrics(
        method=plan.name,
        seq_length=plan.first.length if isinstance(plan.first, Stage) else None,
        recall=recalls.values,
        recall_by_radius={f'{radius:g}': dict(zip(RECALL_NS, row, strict=True))
                          for radius, row in zip(RECALL_RADII, found.by_radius.tolist(),
                                                 strict=True)},
        average_precision=curve.average_precision,
        best_f1=curve.best_f1,
        recall_at_full_precision=curve.recall_at_full_precision,
        queries=recalls.queries,
        unmatched=recalls.unmatched,
        milliseconds_per_query=found.milliseconds_per_query,
        memory_bytes=found.memory_bytes,
        **second)


def show_method(document: 'SearchResults') -> None:
    """Print the metrics of one method on some drives."""
    recalls = ', '.join(f'R@{n}: {value:.3f}' for n, value in document.recall.items())
    results.print(Text(recalls, 'bold'), soft_wrap=True)
    print_fields({
        'method': _describe_method(document),
        **_describe_drives(document, document),
        'precision': f'average precision {document.average_precision:.3f}, best F1 '
                     f'{document.best_f1:.3f}, recall {document.recall_at_full_precision:.3f} at '
                     'full precision',
        'time': f'{document.milliseconds_per_query:.3f} ms per query',
        'memory': _megabytes(document.memory_bytes)})
    print_table(('radius', *(f'R@{n}' for n in document.recall)), [
        (f'{radius} {document.unit}', *map(_share, recalls.values()))
        for radius, recalls in document.recall_by_radius.items()])


def _describe_method(metrics: 'SearchMetrics') -> str:
    frames = metrics.seq_length
    described = 'given candidates' if frames is None else f'sequences of {frames}'
    if metrics.match_length is not None:
        described += (f', the first {metrics.top_k} re-ranked by sequences of '
                      f'{metrics.match_length}')
    return f'{metrics.method}, {described}'


def _describe_drives(metrics: 'SearchMetrics', drives: 'SearchedDrives') -> dict[str, object]:
    return {
        'references': drives.references,
        'queries': f'{metrics.queries}, and {metrics.unmatched} without a match',
        'radius': f'{drives.radius:g} {drives.unit}'}


def show_methods(document: 'SearchTable') -> None:
    """Print the metrics of several methods on the same drives, a row each."""
    methods = document.methods
    first = next(iter(methods.values()))
    header = ('method', *(f'R@{n}' for n in first.recall), 'AP', 'F1', 'R@100%P', 'ms/query', 'MB')
    print_table(header, [
        (name, *map(_share, found.recall.values()), _share(found.average_precision),
         _share(found.best_f1), _share(found.recall_at_full_precision),
         f'{found.milliseconds_per_query:.3f}',
         _megabytes(found.memory_bytes).removesuffix(' MB'))
        for name, found in methods.items()])
    left_out = '; '.join(f'{name} {why}' for name, why in document.left_out.items())
    print_fields({**_describe_drives(first, document), 'left out': left_out or 'none'})


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def _megabytes(size: int | None) -> str:
    return 'not known' if size is None else f'{size / _MEGABYTE:.1f} MB'


def write_predictions(search: 'SearchRun', drives: 'Drives', path: Path) -> None:
    """Write predictions and distances, without pickle.

    Raises:
        InputError: the file cannot be written.
    """
    import numpy as np

    found = search.predictions
    with whole_file(path) as file:
        np.savez(file, preds=found.indices.astype(np.int64), distances=found.distances,
                 reference_rows=drives.reference.rows, query_rows=drives.query.rows)


def write_published(search: 'SearchRun', plan: Plan, drives: 'Drives', path: Path) -> None:
    """Write the results file of the published code.

    Raises:
        InputError: the file cannot be written.
    """
    from seqnet_ros.datasets.seqnet.dataset_files import SeqNetResults, write_results

    write_results(SeqNetResults(search.predictions.indices, search.recalls.values,
                                search.by_radius, _published_options(plan, drives)), path)


def _published_options(plan: Plan, drives: 'Drives') -> dict[str, Any]:
    from seqnet_ros.training.seqnet.run import DEFAULT_FLAGS

    stage = plan.stages[-1]
    options = dict(DEFAULT_FLAGS)
    if stage.run is not None:
        options.update(stage.run.flags, w=stage.run.kernel, outDims=stage.run.out_dim)
    options.update(mode='test', split=drives.origin.get('split', 'test'))
    if 'dataset' in drives.origin:
        options['dataset'] = drives.origin['dataset']
    if isinstance(plan.first, Path):
        options['predictionsFile'] = str(plan.first)
    return {**options, 'pooling': stage.published_name, 'seqL': stage.length}
