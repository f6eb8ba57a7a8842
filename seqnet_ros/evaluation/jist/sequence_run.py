"""Measure a model on the sequences of a split: from reading to recall."""

import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from seqnet_ros.config.model import ModelConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import whole_file
from seqnet_ros.datasets.jist.msls_sequences import read_windows
from seqnet_ros.datasets.jist.sequence_folders import Sequences
from seqnet_ros.datasets.recordings.frame_walk import warn_damaged
from seqnet_ros.evaluation.jist.pca import FITTED_ROWS, check_components
from seqnet_ros.evaluation.jist.protocol import (
    Described,
    Report,
    centre_all,
    describe_all,
    evaluate,
    recalls_at_radii,
)
from seqnet_ros.evaluation.jist.sequence_ground_truth import (
    Rule,
    cached_ground_truth,
    sequence_ground_truth,
)
from seqnet_ros.evaluation.metrics.ground_truth import (
    GroundTruth,
    Recalls,
    explain_no_match,
    require_matches,
    warn_trivial,
)
from seqnet_ros.evaluation.metrics.sequence_metrics import (
    CityRecall,
    QueryRecall,
    SequenceMetrics,
    SequenceResults,
)
from seqnet_ros.evaluation.nearest_neighbors import COPIED, share_of_copies
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.sequences.aggregators import aggregate

_logger = logging.getLogger(__name__)

Windows = tuple[Sequences, Sequences]
"""Of the database and of the queries."""


@dataclass(frozen=True)
class SequenceRequest:
    """Data of an evaluation, and what counts as a match.

    Attributes:
        folder: holds the splits, see `read_windows`.
        split: ``train``, ``val`` or ``test``.
        length: frames per sequence.
        cities: of the sequences; empty takes all.
        radius: sequences within this distance show the same place, meters.
        rule: which frames must be within it, see `sequence_ground_truth`.
        radii: recall is measured for these radii, too, meters.
        reverse: reverse the sequences of the database.
        compat: even lengths and cities as in the published code.
        pca: number of principal components; None projects nothing.
        batch: images described at once.
        cache: folder that keeps the true matches; None keeps none.
        subtask: only sequences of this subtask of MSLS; None takes all.

    Raises:
        InputError: a radius is negative or not finite.
    """

    folder: Path
    split: str = 'test'
    length: int = 5
    cities: tuple[str, ...] = ()
    radius: float = 25.0
    rule: str = 'any'
    radii: tuple[float, ...] = (5.0, 10.0, 25.0)
    reverse: bool = False
    compat: bool = False
    pca: int | None = None
    batch: int = 32
    cache: Path | None = None
    subtask: str | None = None

    def __post_init__(self) -> None:
        """Check the radii before any image is described."""
        for radius in (self.radius, *self.radii):
            if not 0 <= radius < math.inf:
                raise InputError(f'the radius is {radius:g}, expected 0 or more meters')

    def read(self) -> Windows:
        """Read the names of the images.

        Raises:
            InputError: the folder has no such sequences.
        """
        return read_windows(self.folder, self.split, self.length, self.cities, self.reverse,
                            self.compat, self.subtask)

    def truth(self, database: Sequences, queries: Sequences) -> GroundTruth:
        """Return the database windows that match each query window.

        Raises:
            InputError: no query window has a match.
        """
        rule = cast(Rule, self.rule)
        found = (sequence_ground_truth(database, queries, self.radius, rule) if self.cache is None
                 else cached_ground_truth(self.cache, database, queries, self.radius, rule))
        require_matches(found, lambda: explain_no_match(
            database.frames.positions, queries.frames.positions, self.radius))
        return found

    def check_model(self, model: PlaceModel, database: Sequences) -> None:
        """Check that the model describes windows of this length, and that they can be projected.

        Raises:
            InputError: they cannot.
        """
        window = np.zeros((1, database.windows.shape[1]), dtype=np.int64)
        frame = np.zeros((1, model.describer.dim), dtype=np.float32)
        made = aggregate(model.aggregator, frame, window)
        if self.pca is not None:
            check_components((min(len(database), FITTED_ROWS), made.shape[1]), self.pca)


@dataclass(frozen=True, eq=False)
class SequenceRun:
    """Result of an evaluation of a model on sequences.

    Attributes:
        request: data and options.
        model: the model.
        fingerprint: of the model.
        described: database and queries.
        report: recalls and predictions.
        by_radius: recalls at other radii; None where no query has a match.
        describing_seconds: time to read and describe all images.
        left_out: windows skipped because of unreadable images.
    """

    request: SequenceRequest
    model: ModelConfig
    fingerprint: str
    described: tuple[Described, Described]
    report: Report
    by_radius: dict[float, Recalls | None]
    describing_seconds: float
    left_out: int

    def results(self) -> SequenceResults:
        """Return the metrics with the options they were measured with."""
        request = self.request
        return SequenceResults(
            **self._metrics().set_fields(), split=request.split, seq_length=request.length,
            radius=request.radius, rule=request.rule, cities=request.cities,
            reverse=request.reverse, compat=request.compat, pca=request.pca,
            subtask=request.subtask)

    def _metrics(self) -> SequenceMetrics:
        report = self.report
        frames = sum(len(side.descriptors) for side in self.described)
        return SequenceMetrics(
            model=self.model.name, fingerprint=self.fingerprint,
            aggregator=self.model.sequence.aggregator,
            recall=report.recalls.values, queries=report.recalls.queries,
            unmatched=report.recalls.unmatched,
            by_city={city: CityRecall(**_recall(report.by_city.get(city)), unmatched=unmatched)
                     for city, unmatched in report.unmatched_by_city.items()},
            by_radius={f'{radius:g}': QueryRecall(**_recall(found))
                       for radius, found in self.by_radius.items()},
            places=report.places, bytes_per_place=report.bytes_per_place, frames=frames,
            milliseconds_per_query=1e3 * report.seconds_per_query,
            milliseconds_per_frame=1e3 * self.describing_seconds / frames,
            broken_images=tuple(problem for side in self.described for problem in side.damaged),
            sequences_left_out=self.left_out)

    def write_predictions(self, path: Path) -> None:
        """Write predictions, distances and the images of all windows, without pickle.

        Raises:
            InputError: the file cannot be written.
        """
        found = self.report.predictions
        database, queries = (side.sequences for side in self.described)
        with whole_file(path) as file:
            np.savez(file, preds=found.indices.astype(np.int64), distances=found.distances,
                     database_windows=database.windows, database_images=_encoded(database),
                     query_windows=queries.windows, query_images=_encoded(queries))


def describe_windows(model: PlaceModel, windows: Windows, batch: int,
                     bars: Bars = no_bar) -> tuple[tuple[Described, Described], float]:
    """Describe the frames of both sides; return also the seconds that took.

    Args:
        model: its frame descriptor is used.
        windows: of database and queries.
        batch: images described at once.
        bars: shows progress.

    Raises:
        InputError: no window remains.
    """
    started = time.perf_counter()
    made = []
    before = 0
    with bars('describing', sum(len(side.frames) for side in windows)) as show:
        for side in windows:
            def report(done: int, before: int = before) -> None:
                show(before + done)

            found = describe_all(side, model.describer.describe, batch, report)
            made.append(centre_all(found) if model.config.centring else found)
            before += len(side.frames)
    warn_damaged([problem for side in made for problem in side.damaged], before)
    return (made[0], made[1]), time.perf_counter() - started


def measure_windows(request: SequenceRequest, model: PlaceModel, windows: Windows,
                    truth: GroundTruth, described: tuple[Described, Described],
                    seconds: float) -> SequenceRun:
    """Search the remaining windows and compare the result with the ground truth.

    Args:
        request: data and options.
        model: the model.
        windows: all windows, including skipped ones.
        truth: ground truth of ``windows``.
        described: of `describe_windows`.
        seconds: time to describe them.

    Raises:
        InputError: no query window has a match.
    """
    left = described[0].sequences, described[1].sequences
    if any(side.damaged for side in described):
        truth = request.truth(*left)
    warn_trivial(truth)
    if share_of_copies(described[1].descriptors, described[0].descriptors) >= COPIED:
        _logger.warning('the queries are images of the database itself, so recall says nothing '
                        'about other drives')
    report = evaluate(*described, model.aggregator, truth, pca_dim=request.pca)
    by_radius = recalls_at_radii(report, *left, request.radii, cast(Rule, request.rule))
    left_out = sum(map(len, windows)) - sum(map(len, left))
    return SequenceRun(request, model.config, model.fingerprint, described, report,
                       {radius: by_radius.get(radius) for radius in request.radii}, seconds,
                       left_out)


def _recall(found: Recalls | None) -> dict[str, object]:
    if found is None:
        return {'recall': None, 'queries': 0}
    return {'recall': found.values, 'queries': found.queries}


def _encoded(sequences: Sequences) -> np.ndarray:
    """Return the paths of the images as bytes."""
    return np.array([os.fsencode(image) for image in sequences.frames.paths])
