"""``seqnet_ros evaluate sequences``: the test protocol of JIST, with any model."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import progress_bar, working
from seqnet_ros.cli.evaluate.seqnet_report import prepare_outputs
from seqnet_ros.cli.evaluate.sequences_report import (
    SequenceRun,
    document_run,
    show_run,
    write_window_predictions,
)
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.datasets.jist.sequence_folders import Sequences
    from seqnet_ros.evaluation.jist.protocol import Described
    from seqnet_ros.evaluation.jist.sequence_ground_truth import Rule
    from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
    from seqnet_ros.models.place_model import PlaceModel


def evaluate_sequences(
    folder: Annotated[Path, typer.Argument(
        help='Folder of train, val and test, or the official folder of MSLS, which holds '
             'train_val.', show_default=False)],
    model: options.Model,
    split: Annotated[str, typer.Option(help="'train', 'val' or 'test'.")] = 'test',
    seq_length: Annotated[int, typer.Option(
        '--seq-length', '-L', help='Frames per sequence.')] = 5,
    city: Annotated[list[str] | None, typer.Option(
        help='Only sequences of this city. Repeatable.', show_default='all')] = None,
    radius: Annotated[float, typer.Option(
        help='Sequences within this distance show the same place, m.')] = 25.0,
    rule: Annotated[str, typer.Option(
        help="Which frames have to be within the radius: 'any' of one and any of the other, the "
             "'centre' frames or the 'last'.")] = 'any',
    radii: Annotated[str, typer.Option(
        help='Measure recall as if the radius were one of these, too, m.')] = '5,10,25',
    reverse: Annotated[bool, typer.Option(
        '--reverse', help='Reverse the sequences of the database.', show_default=False)] = False,
    compat: Annotated[bool, typer.Option(
        '--compat', show_default=False,
        help='Even lengths and cities as in the published code.')] = False,
    pca: Annotated[int | None, typer.Option(
        help='Project sequence descriptors to so many principal components of the database.',
        show_default='none')] = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    batch: Annotated[int, typer.Option(
        min=1, help='Images described at once; as many are decoded ahead.')] = 32,
    skip_broken: Annotated[bool, typer.Option(
        '--skip-broken', hidden=True,
        help='Kept for old scripts: damaged images are always skipped.')] = False,
    cache: Annotated[Path | None, typer.Option(
        help='Folder that keeps the true matches for the next time.',
        show_default='none')] = None,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the numbers to this file.', show_default=False)] = None,
    predictions: Annotated[Path | None, typer.Option(
        help='Write predictions and distances to this .npz file.', show_default=False)] = None,
) -> None:
    """Measure how often a model finds a true match of a sequence: the test protocol of JIST.

    All sequences of the database are searched for each query sequence, by the L2 distance of their
    descriptors. Queries without any true match are counted and excluded from every recall. Each
    image is described once, however many sequences it is in. Sequences that use a damaged image are
    skipped. For a model with centering, the mean of all frames is subtracted from those of each
    side.

    The folder holds the splits, each with database and queries, and in these a folder for each
    sequence. Image names give position and number in the sequence:
    `@east@north@sequence@number@key@city@date@.jpg`, or `@north@east@lap@number@stamp@.jpg` for
    RobotCar. `dataset prepare` and `dataset render` make such folders. The official folder of MSLS
    can be used as it is: every run of images with successive numbers is a sequence.

    With --compat, sequences of even length are built one frame longer, matched, and shortened by
    the last frame; coordinates of different cities are compared; and --city matches any part of the
    path of the first image.
    """
    from seqnet_ros.datasets.jist.msls_sequences import read_windows
    from seqnet_ros.evaluation.metrics.sequence_metrics import SequenceResults
    from seqnet_ros.evaluation.result_document import write_document
    from seqnet_ros.models.place_model import load_model

    prepare_outputs((json_path, predictions))
    cities = tuple(city or ())
    protocol = _Protocol(radius, rule, options.numbers('--radii', radii, '5,10,25'), cache, pca)
    protocol.check()
    with working('reading names'):
        windows = read_windows(folder, split, seq_length, cities, reverse, compat)
    with working('finding true matches'):
        truth = protocol.truth(*windows)
    place_model = load_model(model, device, weights)
    protocol.check_descriptors(place_model, windows[0])
    run = protocol.measure(place_model, *_describe(place_model, windows, batch),
                           windows, truth)
    document = SequenceResults(
        **document_run(run).set_fields(), split=split, seq_length=seq_length, radius=radius,
        rule=rule, cities=cities, reverse=reverse, compat=compat, pca=pca)
    if predictions is not None:
        write_window_predictions(run, predictions)
    if json_path is not None:
        write_document(json_path, document)
    show_run(document)


@dataclass(frozen=True)
class _Protocol:
    """What counts as found, and how is searched, as options name it."""

    radius: float
    rule: str
    radii: tuple[float, ...]
    cache: Path | None
    pca: int | None

    def check(self) -> None:
        """Say at once what would be wrong after all images are described."""
        for radius in (self.radius, *self.radii):
            if not 0 <= radius < math.inf:
                raise InputError(f'a radius is {radius:g}, expected 0 or more metres')

    def truth(self, database: 'Sequences', queries: 'Sequences') -> 'GroundTruth':
        """Return the database windows that match each query window, at least one of them."""
        from seqnet_ros.evaluation.jist.sequence_ground_truth import (
            cached_ground_truth,
            sequence_ground_truth,
        )
        from seqnet_ros.evaluation.metrics.ground_truth import require_matches

        rule = cast('Rule', self.rule)
        found = (sequence_ground_truth(database, queries, self.radius, rule) if self.cache is None
                 else
                 cached_ground_truth(self.cache, database, queries, self.radius, rule))
        require_matches(found)
        return found

    def check_descriptors(self, model: 'PlaceModel', database: 'Sequences') -> None:
        """Check that the model describes windows of this length, and that they can be projected."""
        import numpy as np

        from seqnet_ros.evaluation.jist.pca import FITTED_ROWS, check_components
        from seqnet_ros.sequences.aggregators import aggregate

        window = np.zeros((1, database.windows.shape[1]), dtype=np.int64)
        frame = np.zeros((1, model.describer.dim), dtype=np.float32)
        made = aggregate(model.aggregator, frame, window)
        if self.pca is not None:
            check_components((min(len(database), FITTED_ROWS), made.shape[1]), self.pca)

    def measure(self, model: 'PlaceModel', described: tuple['Described', 'Described'],
                seconds: float, windows: tuple['Sequences', 'Sequences'],
                truth: 'GroundTruth') -> SequenceRun:
        """Search and compare with the truth, of the windows that are left."""
        from seqnet_ros.evaluation.jist.protocol import evaluate, recalls_at_radii

        left = described[0].sequences, described[1].sequences
        if any(side.damaged for side in described):
            truth = self.truth(*left)
        with working('searching'):
            report = evaluate(*described, model.aggregator, truth, pca_dim=self.pca)
            by_radius = recalls_at_radii(report, *left, self.radii, cast('Rule', self.rule))
        left_out = sum(map(len, windows)) - sum(map(len, left))
        return SequenceRun(model.config, model.fingerprint, described, report,
                           {radius: by_radius.get(radius) for radius in self.radii}, seconds,
                           left_out)


def _describe(model: 'PlaceModel', windows: tuple['Sequences', 'Sequences'],
              batch: int) -> tuple[tuple['Described', 'Described'], float]:
    """Describe the frames of both sides; return also the seconds that took."""
    from seqnet_ros.datasets.recordings.frame_walk import warn_damaged
    from seqnet_ros.evaluation.jist.protocol import centre_all, describe_all

    started = time.perf_counter()
    made = []
    before = 0
    with progress_bar('describing', sum(len(side.frames) for side in windows)) as show:
        for side in windows:
            def report(done: int, before: int = before) -> None:
                show(before + done)

            found = describe_all(side, model.describer.describe, batch, report)
            made.append(centre_all(found) if model.config.centring else found)
            before += len(side.frames)
    warn_damaged([problem for side in made for problem in side.damaged], before)
    return (made[0], made[1]), time.perf_counter() - started
