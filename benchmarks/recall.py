"""Models compared on drives: ``python -m benchmarks.recall DATA``.

``DATA`` holds ``gardens_point``, ``rtabmap_loop`` and ``nordland_64x32``, of which those that are
there are used; a rendered town by day, at dusk and by night is added. For every model and pair of
drives:

- *single*, *L = 10*: Recall@1 of single frames and of the mean distance of ten successive ones,
  centered by the mean of each drive, over all frames with a true match;
- *filter*: Recall@1 of the place filter as `seqnet_ros evaluate bags` runs it, *coverage*, its
  share of queries that are found if 99 % of those found are to be correct, and how many it
  accepted, wrong ones in brackets.

Then the cost of one image of 480x640, milliseconds of one core. Descriptors are kept in
``build/bench/recall``.
"""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.aggregators import centred, methods
from benchmarks.maps import CACHE
from benchmarks.recall_sets import DrivePair, recorded_pairs, town_pairs
from seqnet_ros.evaluation.metrics.ground_truth import recall_at
from seqnet_ros.evaluation.replay.evaluate_recordings import evaluate_recordings
from seqnet_ros.evaluation.seqnet.drives import Drive
from seqnet_ros.evaluation.seqnet.methods import search
from seqnet_ros.models.place_model import PlaceModel, load_model

_MODELS = 'hog', 'patchnorm', 'lite0-cells'
_NEEDS_WEIGHTS = 'mobilenetv2-cells'
_LENGTH = 10
_ROUNDS, _WARM_UP = 60, 5


def main() -> None:
    """Measure and print tables in Markdown."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    weights = dict.fromkeys(arguments.models or _MODELS)
    if arguments.mobilenet_weights:
        weights[_NEEDS_WEIGHTS] = arguments.mobilenet_weights
    models = {name: load_model(name, 'cpu', file) for name, file in weights.items()}
    pairs = [pair for pair in recorded_pairs(arguments.data) if arguments.only in pair.name]
    pairs += town_pairs(CACHE / 'town', arguments.only)
    print('| drives | model | single | L = 10 | filter | coverage | accepted (wrong) |')
    print('| --- ' * 7 + '|')
    for pair in pairs:
        for name, model in models.items():
            print(f'| {pair.name} | `{Path(name).stem}` | '
                  + ' | '.join(measure(pair, name, model, weights[name])) + ' |', flush=True)
    print(f'\n| model | values per place | {" | ".join(_devices())} |')
    print('| --- ' * (2 + len(_devices())) + '|')
    for name, milliseconds in cost(weights).items():
        print(f'| `{Path(name).stem}` | {models[name].describer.dim:,} | '
              + ' | '.join(f'{value:.1f}' for value in milliseconds) + ' |', flush=True)


def measure(pair: DrivePair, name: str, model: PlaceModel,
            weights: Path | None) -> tuple[str, ...]:
    """Return the cells of the table for a model on a pair of drives."""
    folder = CACHE / 'recall' / f'{pair.name}, {Path(name).stem}'.replace(' ', '-')
    folder.parent.mkdir(parents=True, exist_ok=True)
    frames = pair.describe(model, folder)
    truth = pair.truth(*map(len, frames))
    reference, query = (Drive.of(centred(drive)) for drive in frames)
    single, sequences = (
        recall_at(search(method, reference, query, top_k=1).indices, truth, (1,)).values[1]
        for method in (methods(1)['single'], methods(_LENGTH)['SeqMatch']))
    measures = evaluate_recordings(pair.request(name, weights), folder).results.measures
    curve, accepted = measures.precision_recall, measures.accepted
    coverage = curve.recall_at_precision_99 if curve else None
    return (*(_decimals(value) for value in (single, sequences, measures.recall[1], coverage)),
            f'{accepted.results} ({accepted.wrong})')


def cost(weights: dict[str, Path | None]) -> dict[str, list[float]]:
    """Return milliseconds of one core for one image of 480x640, by model and device.

    The time of the process is taken, so that other programs on the machine hardly matter.
    """
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    return {name: [_cost_of(load_model(name, device, file), image) for device in _devices()]
            for name, file in weights.items()}


def _cost_of(model: PlaceModel, image: np.ndarray) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        model.describer.describe([image])
        seconds.append(time.process_time() - started)
    return float(np.median(seconds[_WARM_UP:])) * 1e3


def _devices() -> list[str]:
    return ['cpu', 'openvino'] if find_spec('openvino') else ['cpu']


def _decimals(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.recall', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path)
    parser.add_argument('--models', nargs='+', metavar='MODEL', help='names or YAML files')
    parser.add_argument('--mobilenet-weights', type=Path, metavar='FILE',
                        help=f'weights of {_NEEDS_WEIGHTS}, which is then measured too')
    parser.add_argument('--only', default='', metavar='WORD', help='drives with this in their name')
    return parser.parse_args()


if __name__ == '__main__':
    main()
