"""Console output of the evaluation of SeqNet's methods."""

from typing import TYPE_CHECKING

from rich.text import Text

from seqnet_ros.cli.console import print_fields, print_table, results

if TYPE_CHECKING:
    from seqnet_ros.evaluation.metrics.search_metrics import (
        SearchedDrives,
        SearchMetrics,
        SearchResults,
        SearchTable,
    )

_MEGABYTE = 1e6


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
    if document.ground_truth is not None:
        return
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
        **({'radius': f'{drives.radius:g} {drives.unit}'} if drives.ground_truth is None
           else {'ground truth': drives.ground_truth})}


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
    skipped = '; '.join(f'{name} {why}' for name, why in document.left_out.items())
    print_fields({**_describe_drives(first, document), 'skipped': skipped or 'none'})


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def _megabytes(size: int | None) -> str:
    return 'not known' if size is None else f'{size / _MEGABYTE:.1f} MB'
