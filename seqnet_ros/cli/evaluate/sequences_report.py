"""Output of ``seqnet_ros evaluate sequences``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from seqnet_ros.cli.console import print_fields, print_table, results
from seqnet_ros.core.files import whole_file

if TYPE_CHECKING:
    import numpy as np

    from seqnet_ros.config.model import ModelConfig
    from seqnet_ros.datasets.jist.sequence_folders import Sequences
    from seqnet_ros.evaluation.jist.protocol import Described, Report
    from seqnet_ros.evaluation.metrics.ground_truth import Recalls
    from seqnet_ros.evaluation.metrics.sequence_metrics import (
        QueryRecall,
        SequenceMetrics,
        SequenceResults,
    )

_RULES = {'any': 'any frames', 'centre': 'centre frames', 'last': 'last frames'}


@dataclass(frozen=True, eq=False)
class SequenceRun:
    """A model measured on sequences.

    Attributes:
        model: what described.
        fingerprint: of the model.
        described: database and queries.
        report: what was found.
        by_radius: recalls as if the radius were another; None where no query has a match.
        describing_seconds: spent on reading and describing all images.
        left_out: windows skipped because of unreadable images.
    """

    model: 'ModelConfig'
    fingerprint: str
    described: tuple['Described', 'Described']
    report: 'Report'
    by_radius: 'dict[float, Recalls | None]'
    describing_seconds: float
    left_out: int


def document_run(run: SequenceRun) -> 'SequenceMetrics':
    """Return the metrics of a run."""
    from seqnet_ros.evaluation.metrics.sequence_metrics import (
        CityRecall,
        QueryRecall,
        SequenceMetrics,
    )

    report = run.report
    frames = sum(len(side.descriptors) for side in run.described)
    return SequenceMetrics(
        model=run.model.name, fingerprint=run.fingerprint,
        aggregator=run.model.sequence.aggregator,
        recall=report.recalls.values, queries=report.recalls.queries,
        unmatched=report.recalls.unmatched,
        by_city={city: CityRecall(**_recall(report.by_city.get(city)), unmatched=unmatched)
                 for city, unmatched in report.unmatched_by_city.items()},
        by_radius={f'{radius:g}': QueryRecall(**_recall(found))
                   for radius, found in run.by_radius.items()},
        places=report.places, bytes_per_place=report.bytes_per_place, frames=frames,
        milliseconds_per_query=1e3 * report.seconds_per_query,
        milliseconds_per_frame=1e3 * run.describing_seconds / frames,
        broken_images=tuple(problem for side in run.described for problem in side.damaged),
        sequences_left_out=run.left_out)


def _recall(found: 'Recalls | None') -> dict[str, object]:
    if found is None:
        return {'recall': None, 'queries': 0}
    return {'recall': found.values, 'queries': found.queries}


def show_run(document: 'SequenceResults') -> None:
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
        fields['left out'] = (f'{document.sequences_left_out} sequences, because of {len(broken)} '
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


def write_window_predictions(run: SequenceRun, path: Path) -> None:
    """Write predictions, distances and the images of all windows, without pickle.

    Raises:
        InputError: the file cannot be written.
    """
    import numpy as np

    found = run.report.predictions
    database, queries = (side.sequences for side in run.described)
    with whole_file(path) as file:
        np.savez(file, preds=found.indices.astype(np.int64), distances=found.distances,
                 database_windows=database.windows, database_images=_encoded(database),
                 query_windows=queries.windows, query_images=_encoded(queries))


def _encoded(sequences: 'Sequences') -> 'np.ndarray':
    """Return the paths of the images as bytes."""
    import numpy as np

    return np.array([os.fsencode(image) for image in sequences.frames.paths])
