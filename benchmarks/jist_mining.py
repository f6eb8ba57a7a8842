"""The mining step of JIST against the way it was published: ``python -m benchmarks.jist_mining``.

The published code builds a faiss index of the positives and one of the negatives for every query;
ours is one matrix product with the places drawn, and the distances of the positives. The floor is
that product alone. Descriptors are there already in all three.
"""

import argparse

import faiss
import numpy as np
import torch

from benchmarks.timing import time_calls
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
from seqnet_ros.training.jist.mining import Draw, WindowDescriptors, choose_triplets

_POSITIVES, _NEAR, _NEGATIVES = 20, 60, 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--queries', type=int, default=1000)
    parser.add_argument('--drawn', type=int, default=3000)
    parser.add_argument('--dim', type=int, default=512)
    arguments = parser.parse_args()
    draw = make_draw(arguments.queries, arguments.drawn)
    generator = torch.Generator().manual_seed(0)
    queries, places = (torch.nn.functional.normalize(
        torch.randn(count, arguments.dim, generator=generator))
        for count in (len(draw.queries), len(draw.places)))
    described = [WindowDescriptors(values, torch.zeros(len(values), dtype=torch.bool))
                 for values in (queries, places)]
    found = choose_triplets(draw, *described, _NEGATIVES)
    best, hardest = published(draw, queries.numpy(), places.numpy())
    assert np.array_equal(found.positives.numpy(), best)
    assert np.mean(found.negatives.numpy() == hardest) > 0.999  # but for the order of ties
    sampled = places[torch.from_numpy(draw.drawn)]
    times = {name: time_calls(lambda _, call=call: call(), range(6)) for name, call in (
        ('bare product', lambda: queries @ sampled.T),
        ('ours', lambda: choose_triplets(draw, *described, _NEGATIVES)),
        ('published way', lambda: published(draw, queries.numpy(), places.numpy())))}
    print(f'{len(queries)} queries, {arguments.drawn} places drawn, {len(places)} in all, '
          f'D={arguments.dim}; {torch.get_num_threads()} threads; all queries:')
    for name, time in times.items():
        print(f'{name}: {time}, {time.median / times["bare product"].median:.1f} of the product')


def make_draw(queries: int, drawn: int) -> Draw:
    """Return a draw among ten times as many places, where near windows follow one another."""
    random = np.random.default_rng(0)
    count = 10 * drawn
    centres = random.integers(_NEAR, count - _NEAR, queries)
    sampled = random.choice(count, drawn, replace=False)

    def around(width: int) -> GroundTruth:
        rows = centres[:, None] + np.arange(-width // 2, width // 2)
        return GroundTruth(np.arange(queries + 1) * rows.shape[1], rows.ravel(), count)

    positives, near = around(_POSITIVES), around(_NEAR)
    places = np.union1d(sampled, positives.indices)
    return Draw(np.arange(queries), places, np.isin(places, sampled), positives, near)


def published(draw: Draw, queries: np.ndarray,
              places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best positive and the hardest negatives, an index for each query."""
    best, hardest = [], []
    sampled = draw.places[draw.drawn]
    for query, descriptor in enumerate(queries):
        found = []
        for rows, wanted in (
                (draw.positives.matches(query), 1),
                (np.setdiff1d(sampled, draw.near.matches(query), assume_unique=True), _NEGATIVES)):
            index = faiss.IndexFlatL2(queries.shape[1])
            index.add(places[np.searchsorted(draw.places, rows)])
            found.append(rows[index.search(descriptor[None], wanted)[1][0]])
        best.append(found[0][0])
        hardest.append(found[1])
    return np.array(best), np.stack(hardest)


if __name__ == '__main__':
    main()
