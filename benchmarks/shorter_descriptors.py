"""What shorter and coarser descriptors cost: ``python -m benchmarks.shorter_descriptors DATA``.

Recall@1 of single frames and of the mean similarity of ten successive ones, by principal
components fitted to the mapped drive or to the drives of the other pairs, by random signs, and by
values stored in float16 and int8.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.recall_sets import DrivePair, recorded_pairs
from seqnet_ros.config.model import ReductionConfig
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.reduction import random_weight
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
from seqnet_ros.models.place_model import load_model
from seqnet_ros.training.common.whitening import fit_components

_CACHE = Path(__file__).resolve().parent.parent / 'build' / 'bench' / 'recall'
_LENGTH = 10
_DIMS = (128, 256, 512)
_POWERS = (0.0, 0.5, 1.0)

Described = tuple[DrivePair, np.ndarray, np.ndarray]


def main() -> None:
    """Print a row for each way to shorten descriptors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help='folder of the recorded drives')
    parser.add_argument('--model', default='lite0-cells')
    arguments = parser.parse_args()
    model = load_model(arguments.model, 'cpu')
    described = [(pair, *pair.describe(model, _CACHE / f'{arguments.model}-{number}'))
                 for number, pair in enumerate(recorded_pairs(arguments.data))]
    print('| descriptors |', ' | '.join(pair.name for pair, *_ in described), '|')
    print('| --- ' * (len(described) + 1) + '|')
    length = described[0][1].shape[1]
    _row(f'{length} values', described, [np.eye(length, dtype=np.float32)] * len(described))
    for kind in ('float16', 'int8'):
        _row(f'{length} values, {kind}', described, [None] * len(described), kind)
    for dim in _DIMS:
        for power in _POWERS:
            _row(f'{dim}, fitted to the map, whitening {power:g}', described, [
                _fitted([maps], dim, power) for _, maps, _ in described])
            _row(f'{dim}, fitted to the other pairs, whitening {power:g}', described, [
                _fitted([maps for other, maps, _ in described if other is not pair], dim, power)
                for pair, *_ in described])
        signs = random_weight(ReductionConfig(kind='random', dim=dim), length)
        _row(f'{dim}, random signs', described, [signs] * len(described))


def _fitted(drives: list[np.ndarray], dim: int, power: float) -> np.ndarray:
    """Return components; zeros where there are too few images."""
    vectors = np.concatenate(drives)
    if len(vectors) <= dim:
        return np.zeros((0, vectors.shape[1]), np.float32)
    return fit_components(vectors, dim, power).weight


def _row(label: str, described: list[Described], weights: Sequence[np.ndarray | None],
         stored: str = 'float32') -> None:
    cells = []
    for (pair, maps, queries), weight in zip(described, weights, strict=True):
        if weight is not None and not len(weight):
            cells.append('too few images')
            continue
        sides = [rows if weight is None else normalize_rows(rows @ weight.T)
                 for rows in (maps, queries)]
        truth = pair.truth(len(maps), len(queries))
        cells.append(' / '.join(f'{_recall(*sides, truth, length, stored):.3f}'
                                for length in (1, _LENGTH)))
    print(f'| {label} |', ' | '.join(cells), '|', flush=True)


def _recall(maps: np.ndarray, queries: np.ndarray, truth: GroundTruth, length: int,
            stored: str) -> float:
    maps, queries = (normalize_rows(rows - rows.mean(axis=0)) for rows in (maps, queries))
    best = _along_diagonals(queries @ _stored(maps, stored).T, length).argmax(axis=1)
    right = [place in truth.matches(query) for query, place in enumerate(best)
             if len(truth.matches(query))]
    return float(np.mean(right))


def _stored(rows: np.ndarray, kind: str) -> np.ndarray:
    """Return rows as they come back from a file of this kind, int8 with a scale for each row."""
    if kind == 'float16':
        return rows.astype(np.float16).astype(np.float32)
    if kind == 'int8':
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
        return np.rint(rows / np.maximum(scale, 1e-12)) * scale
    return rows


def _along_diagonals(similarities: np.ndarray, length: int) -> np.ndarray:
    """Return the mean ``[M, N]`` of each value and those before it on its diagonal."""
    sums, counts = similarities.copy(), np.ones_like(similarities)
    for step in range(1, length):
        sums[step:, step:] += similarities[:-step, :-step]
        counts[step:, step:] += 1
    return sums / counts


if __name__ == '__main__':
    main()
