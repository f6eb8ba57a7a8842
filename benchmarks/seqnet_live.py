"""Cost of SeqNet per new frame on a robot: ``python -m benchmarks.seqnet_live``.

The floor is the bare product of the weights with one vector, which has to read them once. Beside
the SeqNet of the sequence there is the projection of the newest frame (a SeqNet with kernel 1),
and the layer as it is written down: a convolution over the window, then the mean.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.timing import Timing, alternate, measure_bandwidth
from seqnet_ros.sequences.aggregators import describe_frames
from seqnet_ros.sequences.seqnet_aggregators import SeqNet

_LENGTHS = (5, 10, 20, 50)
_SHOWN = '{:<44}{:>30}{:>16}'


def main() -> None:
    """Measure and print."""
    arguments = _parse_arguments()
    torch.manual_seed(0)
    layer = SeqNet(arguments.dim, arguments.dim, arguments.kernel).eval()
    projection = SeqNet(arguments.dim, arguments.dim, 1).eval()
    frames = torch.nn.functional.normalize(torch.randn(max(_LENGTHS), arguments.dim))
    newest = frames[-1:].numpy()
    windows = {length: frames[-length:][None] for length in _LENGTHS}
    with torch.inference_mode():
        calls: dict[str, Callable[[], object]] = {'bare product of the weights': _bare(layer)}
        for length, window in windows.items():
            calls[f'SeqNet, {length} frames'] = lambda window=window: layer(window)
        for length in _LENGTHS[:2]:
            calls[f'convolution, then mean, {length} frames'] = (
                lambda window=windows[length]: _literal(layer, window))
        sequence = alternate(calls, arguments.rounds)
        single = alternate({
            'bare product of the weights': _bare(projection),
            'projection of the newest frame': lambda: describe_frames(projection, newest),
        }, arguments.rounds)

    print(f'D = {arguments.dim}, kernel {arguments.kernel}, {torch.get_num_threads()} threads; one '
          f'core reads {measure_bandwidth(512 << 20) / 1e9:.1f} GB/s; {arguments.rounds} rounds, '
          'medians (10th .. 90th percentile)')
    for rounds, module in ((sequence, layer), (single, projection)):
        size = sum(tensor.nbytes for tensor in module.state_dict().values())
        print(_SHOWN.format(f'weights of {size / 1e6:.0f} MB', 'one frame, ms', 'of the floor'))
        floor = np.array(next(iter(rounds.values())))
        for name, seconds in rounds.items():
            # Ratios are taken within a round, so that a busy machine slows both alike.
            ratio = float(np.median(np.array(seconds) / floor))
            print(_SHOWN.format(name, str(Timing.of(seconds)), f'{ratio:.2f}'))


def _bare(layer: SeqNet) -> Callable[[], object]:
    weight = layer.conv.weight.flatten(1)
    vector = torch.randn(weight.shape[1])
    return lambda: weight @ vector


def _literal(layer: SeqNet, window: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(layer.conv(window.transpose(1, 2)).mean(dim=2))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.seqnet_live', description=__doc__)
    parser.add_argument('--dim', type=int, default=4096)
    parser.add_argument('--kernel', type=int, default=5)
    parser.add_argument('--rounds', type=int, default=31)
    return parser.parse_args()


if __name__ == '__main__':
    main()
