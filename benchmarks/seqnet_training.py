"""Gain from training SeqNet on a route: ``python -m benchmarks.seqnet_training --help``.

Two image folders show one route, image i of one the place of image i of the other. SeqNet is
trained on the first stretch, its best weights are chosen on the second, and all methods are
compared on the third; the stretches share no image.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.image_pairs import describe_both, pair_arguments
from benchmarks.sequence_evidence import follow_drives
from seqnet_ros.evaluation.metrics.ground_truth import recall_at
from seqnet_ros.evaluation.nearest_neighbors import Predictions
from seqnet_ros.evaluation.seqnet.drives import Drive
from seqnet_ros.evaluation.seqnet.methods import build_method, rerank, search
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.training.seqnet.config import SeqNetTrainingConfig
from seqnet_ros.training.seqnet.data import DrivePair
from seqnet_ros.training.seqnet.run import load_run
from seqnet_ros.training.seqnet.trainer import SeqNetTraining, train_seqnet

_TOP_K = 20


def main() -> None:
    """Train, measure and print."""
    arguments = parse_arguments()
    frames = describe_both(arguments)
    training = stretch(frames, arguments.train, arguments.radius, arguments.positive_radius)
    validation, test = (stretch(frames, span, arguments.tolerance, arguments.tolerance)
                        for span in (arguments.validate, arguments.test))
    print(f'{arguments.model}, D = {frames[0].shape[1]}; {len(training.query.rows)} queries to '
          f'train on, {len(validation.query.rows)} to validate, {len(test.query.rows)} to test; '
          f'tolerance {arguments.tolerance:g}', flush=True)
    with tempfile.TemporaryDirectory() as runs:
        s1, long = (
            train(training, validation, length, kernel, arguments, Path(runs) / f's{length}')
            for length, kernel in ((1, 1), (arguments.length, arguments.kernel)))
    compare(test, s1, long, arguments.length)
    follow(test, long, arguments)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = pair_arguments(__doc__)
    for name in ('train', 'validate', 'test'):
        parser.add_argument(f'--{name}', type=span, required=True, help='images, such as 0:1900')
    parser.add_argument('--radius', type=float, default=5, help='of places that are the same')
    parser.add_argument('--positive-radius', type=float, default=1)
    parser.add_argument('--tolerance', type=float, default=1, help='of a correct match, images')
    parser.add_argument('--length', type=int, default=5)
    parser.add_argument('--kernel', type=int, default=3)
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--lr', type=float, default=1e-2)
    return parser.parse_args()


def span(text: str) -> slice:
    """Read 'first:end'."""
    first, end = text.split(':')
    return slice(int(first), int(end))


def stretch(frames: list[np.ndarray], rows: slice, radius: float, positive: float) -> DrivePair:
    """Cut a stretch out of both drives."""
    reference, query = (Drive.of(drive[rows]) for drive in frames)
    line = np.arange(len(reference.rows), dtype=float)[:, None]
    return DrivePair(reference, query, line, line, radius, positive)


def train(training: DrivePair, validation: DrivePair, length: int, kernel: int,
          arguments: argparse.Namespace, run: Path) -> SeqNet:
    """Train and return the weights that are best in the validation."""
    config = SeqNetTrainingConfig(
        length=length, kernel=kernel, epochs=arguments.epochs, lr=arguments.lr)
    train_seqnet(SeqNetTraining(training, validation, config), run)
    best = load_run(run, 'best')
    print(f'S{length}: best of {arguments.epochs} epochs is {best.epoch}, validation R@5 '
          f'{best.recalls[5]:.3f}', flush=True)
    return best.module


def compare(test: DrivePair, s1: SeqNet, trained: SeqNet, length: int) -> None:
    """Print the recalls of all methods."""
    truth = test.truth()
    matching = build_method('s1+seqmatch', length, s1)
    methods = {
        'single': build_method('single', 1),
        'smooth': build_method('smooth', length),
        'delta': build_method('delta', length),
        'S1': build_method('seqnet', 1, s1),
        f'SeqNet S{length}': build_method('seqnet', length, trained),
        'SeqMatch of single': build_method('single+seqmatch', length),
        'SeqMatch of S1': matching,
    }
    found: dict[str, Predictions] = {
        name: search(method, test.reference, test.query) for name, method in methods.items()}
    for stage in ('single', 'smooth', 'delta', f'SeqNet S{length}'):
        found[f'HVPR {stage} -> S1'] = rerank(
            matching, test.reference, test.query, found[stage].indices[:, :_TOP_K])
    print('| method | R@1 | R@5 | R@10 | R@20 |\n| --- | --- | --- | --- | --- |')
    for name, predictions in found.items():
        values = recall_at(predictions.indices, truth).values
        print(f'| {name} | ' + ' | '.join(f'{values[n]:.3f}' for n in (1, 5, 10, 20)) + ' |')


def follow(test: DrivePair, trained: SeqNet, arguments: argparse.Namespace) -> None:
    """Print what the trained sequences add to the place filter."""
    found = follow_drives(test.reference.descriptors, test.query.descriptors, trained,
                          arguments.length, arguments.tolerance)
    print('\n| drive | share of sequences | R@1 | accepted | wrong |')
    print('| --- | --- | --- | --- | --- |')
    for (drive, share), outcome in found.items():
        print(f'| {drive}, {outcome.queries} | {share:g} | {outcome.recall:.3f} | '
              f'{outcome.accepted} | {outcome.wrong} |')


if __name__ == '__main__':
    main()
