"""Untrained sequence descriptors compared: ``python -m benchmarks.aggregators --help``.

Two image folders show one route, image i of one the place of image i of the other. Frames are
described once; every aggregator sees the same ones. SeqGeM has its untrained exponent.
"""

import argparse

import numpy as np
from torch import nn

from benchmarks.image_pairs import describe_both, pair_arguments
from seqnet_ros.evaluation.metrics.ground_truth import matches_within, recall_at
from seqnet_ros.evaluation.seqnet.drives import Drive
from seqnet_ros.evaluation.seqnet.methods import DescriptorSearch, Method, SequenceMatching, search
from seqnet_ros.sequences.centring import centre
from seqnet_ros.sequences.jist_aggregators import Concat, Mean, SeqGeM
from seqnet_ros.sequences.seqnet_aggregators import Smooth

_RECALLS = (1, 5, 10, 20)


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    frames = describe_both(arguments)
    line = np.arange(len(frames[0]), dtype=float)[:, None]
    truth = matches_within(line, line, arguments.tolerance)
    print(f'{arguments.model}, D = {frames[0].shape[1]}, {len(frames[0])} images, tolerance '
          f'{arguments.tolerance:g}\n| frames | L | method | R@1 | R@5 | R@10 | R@20 |')
    print('| --- ' * 7 + '|')
    for kind, drives in (('raw', frames), ('centred', [centred(drive) for drive in frames])):
        reference, query = (Drive.of(drive) for drive in drives)
        for length in (1, *arguments.lengths):
            for name, method in methods(length).items():
                found = search(method, reference, query)
                values = recall_at(found.indices, truth, _RECALLS).values
                print(f'| {kind} | {length} | {name} | '
                      + ' | '.join(f'{value:.3f}' for value in values.values()) + ' |', flush=True)


def methods(length: int) -> dict[str, Method]:
    """Return what is compared for sequences of a length."""
    if length == 1:
        return {'single': DescriptorSearch(Smooth(), 1)}
    aggregators: dict[str, nn.Module] = {'mean': Mean(), 'SeqGeM': SeqGeM(), 'concat': Concat()}
    return {**{name: DescriptorSearch(module, length) for name, module in aggregators.items()},
            'SeqMatch': SequenceMatching(Smooth(), length)}


def centred(frames: np.ndarray) -> np.ndarray:
    """Subtract the drive's mean descriptor."""
    return centre(frames, frames.mean(axis=0))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = pair_arguments(__doc__)
    parser.add_argument('--tolerance', type=float, default=2, help='images')
    parser.add_argument('--lengths', type=int, nargs='+', default=[5, 10])
    return parser.parse_args()


if __name__ == '__main__':
    main()
