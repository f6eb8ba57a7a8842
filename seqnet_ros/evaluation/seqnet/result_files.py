"""Results of SeqNet's methods: the JSON document, predictions, and the published results file."""

from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.core.files import whole_file
from seqnet_ros.datasets.seqnet.dataset_files import SeqNetResults, write_results
from seqnet_ros.datasets.seqnet.published_options import DEFAULT_FLAGS
from seqnet_ros.evaluation.metrics.ground_truth import RECALL_NS, RECALL_RADII
from seqnet_ros.evaluation.metrics.search_metrics import SearchedDrives, SearchMetrics
from seqnet_ros.evaluation.metrics.search_run import SearchRun
from seqnet_ros.evaluation.seqnet.evaluated_drives import Drives
from seqnet_ros.evaluation.seqnet.search_plans import Plan, Stage


def document_drives(drives: Drives, full_windows: int | None) -> SearchedDrives:
    """Return the description of the drives in a results document."""
    return SearchedDrives(radius=drives.radius, unit=drives.unit,
                          references=len(drives.reference.rows), full_windows=full_windows,
                          **drives.origin)


def document_method(plan: Plan, found: SearchRun) -> SearchMetrics:
    """Return the metrics of a method."""
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


def write_predictions(search: SearchRun, drives: Drives, path: Path) -> None:
    """Write predictions and distances, without pickle.

    Raises:
        InputError: the file cannot be written.
    """
    found = search.predictions
    with whole_file(path) as file:
        np.savez(file, preds=found.indices.astype(np.int64), distances=found.distances,
                 reference_rows=drives.reference.rows, query_rows=drives.query.rows)


def write_published(search: SearchRun, plan: Plan, drives: Drives, path: Path) -> None:
    """Write the results file of the published code.

    Raises:
        InputError: the file cannot be written.
    """
    write_results(SeqNetResults(search.predictions.indices, search.recalls.values,
                                search.by_radius, _published_options(plan, drives)), path)


def _published_options(plan: Plan, drives: Drives) -> dict[str, Any]:
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
