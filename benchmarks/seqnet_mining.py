"""Mining for SeqNet against the way it was published: ``python -m benchmarks.seqnet_mining``.

The baseline builds a faiss index of the drawn negatives and of the positives for every query, as
the published code does; reading its cache from disk is excluded. Ours is the block-wise product.
The floor is the bare matrix product of the same size.
"""

import argparse
import resource
import time

import faiss
import numpy as np
import torch

from seqnet_ros.training.seqnet.mining import mine

_DRAWN = 1000
_MARGIN = 0.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--references', type=int, default=15_000)
    parser.add_argument('--queries', type=int, default=1_000)
    parser.add_argument('--dim', type=int, default=4096)
    parser.add_argument('--baseline-queries', type=int, default=50)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)

    def unit(count: int) -> torch.Tensor:
        return torch.nn.functional.normalize(
            torch.randn(count, arguments.dim, generator=generator))

    references, queries = unit(arguments.references), unit(arguments.queries)
    indptr = torch.arange(arguments.queries + 1) * 21
    positives = torch.randint(
        arguments.references, (21 * arguments.queries,), generator=generator)
    drawn = torch.randint(
        arguments.references, (arguments.queries, _DRAWN), generator=generator)

    few = arguments.baseline_queries
    started = time.perf_counter()
    for query in range(few):
        _published(references.numpy(), queries[query].numpy(),
                   positives[indptr[query]: indptr[query + 1]].numpy(), drawn[query].numpy())
    baseline = (time.perf_counter() - started) / few
    started = time.perf_counter()
    product = queries @ references.T
    floor = (time.perf_counter() - started) / arguments.queries
    del product
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    mine(references, queries, indptr, positives, drawn, _MARGIN)
    ours = (time.perf_counter() - started) / arguments.queries
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f'{arguments.references} references, {arguments.queries} queries, D={arguments.dim}; '
          f'{torch.get_num_threads()} threads; per query:')
    print(f'published way {baseline * 1e3:.2f} ms, ours {ours * 1e3:.2f} ms, bare product '
          f'{floor * 1e3:.2f} ms: {baseline / ours:.0f} times faster, {ours / floor:.2f} times the '
          f'product; peak memory grew by {grown:.0f} MiB')


def _published(references: np.ndarray, query: np.ndarray, positives: np.ndarray,
               drawn: np.ndarray) -> None:
    for rows, wanted in ((positives, 1), (np.unique(drawn), 100)):
        index = faiss.IndexFlatL2(references.shape[1])
        index.add(references[rows])
        index.search(query[None], wanted)


if __name__ == '__main__':
    main()
