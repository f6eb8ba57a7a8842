"""Console output of ``seqnet_ros evaluate sequences``."""

from typing import TYPE_CHECKING

from rich.text import Text

from seqnet_ros.cli.console import print_fields, print_table, results

if TYPE_CHECKING:
    from seqnet_ros.evaluation.metrics.sequence_metrics import QueryRecall, SequenceResults

_RULES = {'any': 'any frames', 'centre': 'center frames', 'last': 'last frames'}


def show_results(document: 'SequenceResults') -> None:
    """Print a measurement; recalls in percent, as JIST's published code does."""
    recalls, broken = document.recall, document.broken_images
    results.print(Text(', '.join(f'R@{n}: {_percent(value)}' for n, value in recalls.items()),
                       'bold'), soft_wrap=True)
    fields = {
        'model': f'{document.model} ({document.fingerprint[:8]}), {document.aggregator} '
                 f'of {document.seq_length} frames',
        'places': f'{document.places}, {document.bytes_per_place} bytes each',
        'queries': f'{document.queries}, and {document.unmatched} without a match',
        'radius': f'{document.radius:g} m, {_RULES[document.rule]}',
        'time': f'{document.milliseconds_per_query:.3f} ms per query, and '
                f'{document.milliseconds_per_frame:.1f} ms to describe a frame'}
    if broken:
        fields['skipped'] = (f'{document.sequences_left_out} sequences, because of {len(broken)} '
                              f'unreadable images, such as: {broken[0]}')
    print_fields(fields)
    header = ('queries', *(f'R@{n}' for n in recalls))
    if len(document.by_city) > 1:
        print_table(('city', 'without match', *header), [
            (city, str(found.unmatched), *_row(found, len(recalls)))
            for city, found in document.by_city.items()])
    print_table(('radius', *header), [
        (f'{radius} m', *_row(found, len(recalls)))
        for radius, found in document.by_radius.items()])


def _row(found: 'QueryRecall', columns: int) -> tuple[str, ...]:
    values = ['-'] * columns if found.recall is None else [
        _percent(value) for value in found.recall.values()]
    return str(found.queries), *values


def _percent(value: float) -> str:
    return f'{100 * value:.1f}'
