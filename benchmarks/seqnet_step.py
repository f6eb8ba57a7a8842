"""One step of SeqNet training against the published way: ``python -m benchmarks.seqnet_step``.

The published way puts every window of a batch through the convolution at all its positions and
adds the loss up triplet by triplet. Ours takes the means first and computes all triplets together.
The floor is the bare products of the weights with as many windows, forward and backward. No window
occurs twice here; in training ours describes those once.
"""

import argparse

import numpy as np
import torch
from torch.nn.functional import linear, normalize, triplet_margin_loss

from benchmarks.timing import time_calls
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.training.seqnet.loss import triplet_loss

_BATCH, _NEGATIVES, _MARGIN = 16, 10, 0.1
_REFERENCES = 15_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dim', type=int, default=4096)
    parser.add_argument('--length', type=int, default=5)
    parser.add_argument('--kernel', type=int, default=3)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    count = _BATCH * (1 + _NEGATIVES)
    frames = normalize(torch.randn(_REFERENCES // 10, arguments.dim), dim=1)
    windows = torch.from_numpy(random.integers(
        len(frames), size=(_BATCH + count, arguments.length)))
    layer = SeqNet(arguments.dim, arguments.dim, arguments.kernel)
    rows = torch.arange(count)

    def ours() -> None:
        unique, position = rows.unique(return_inverse=True)
        queries = layer(frames[windows[:_BATCH]])
        references = layer(frames[windows[_BATCH + unique]])[position]
        positives, negatives = references.split([_BATCH, _BATCH * _NEGATIVES])
        owners = torch.arange(_BATCH).repeat_interleave(_NEGATIVES)
        _backward(layer, triplet_loss(queries[owners], positives[owners], negatives, _MARGIN))

    def published() -> None:
        whole = frames[windows[torch.cat([torch.arange(_BATCH), _BATCH + rows])]]
        described = normalize(layer.conv(whole.permute(0, 2, 1)).mean(dim=2), dim=1)
        queries, positives, negatives = described.split([_BATCH, _BATCH, _BATCH * _NEGATIVES])
        loss = torch.zeros(())
        for query in range(_BATCH):
            for number in range(_NEGATIVES):
                loss = loss + triplet_margin_loss(
                    queries[query: query + 1], positives[query: query + 1],
                    negatives[query * _NEGATIVES + number][None], margin=_MARGIN ** 0.5,
                    reduction='sum')
        _backward(layer, loss / (_BATCH * _NEGATIVES))

    means = torch.randn(_BATCH + count, arguments.kernel * arguments.dim)
    weight = layer.conv.weight.detach().flatten(1).requires_grad_()

    def floor() -> None:
        weight.grad = None
        linear(means, weight).sum().backward()

    print(f'D={arguments.dim}, L={arguments.length}, w={arguments.kernel}, {_BATCH} tuples of '
          f'{_NEGATIVES} negatives; '
          f'{torch.get_num_threads()} threads')
    times = {name: time_calls(lambda _, call=call: call(), range(6)) for name, call in (
        ('bare products', floor), ('ours', ours), ('published way', published))}
    for name, time in times.items():
        print(f'{name}: {time}, {time.median / times["bare products"].median:.2f} of the products')


def _backward(layer: SeqNet, loss: torch.Tensor) -> None:
    layer.zero_grad()
    loss.backward()


if __name__ == '__main__':
    main()
