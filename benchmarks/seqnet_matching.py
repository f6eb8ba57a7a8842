"""SeqNet's sequence matching against its formula: ``python -m benchmarks.seqnet_matching``.

The formula taken literally computes L x L frame distances for every pair of windows and averages
their diagonal. That takes long for all queries, so it is timed on a few. The floor is one bare
matrix product of all query frames with all reference frames.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist

from benchmarks.timing import Timing
from seqnet_ros.evaluation.nearest_neighbors import match_windows, rerank_windows
from seqnet_ros.evaluation.seqnet.drives import Drive
from seqnet_ros.evaluation.seqnet.methods import build_method, rerank, search
from seqnet_ros.sequences.seqnet_aggregators import SeqNet

_TOP_K, _CANDIDATES, _KERNEL = 100, 20, 3
_SHOWN = '{:<46}{:>28}{:>14}{:>16}'


def main() -> None:
    """Measure and print."""
    arguments = _parse_arguments()
    count, length = arguments.frames, arguments.length
    references, queries = make_drives(count, arguments.dim)
    windows = Drive.of(references).windows(length)
    product = np.empty((count, count), dtype=np.float32)
    candidates = np.random.default_rng(1).integers(0, count, (count, _CANDIDATES))
    drives = Drive.of(references), Drive.of(queries)
    s1 = SeqNet(arguments.dim, arguments.dim, 1)
    layer = SeqNet(arguments.dim, arguments.dim, _KERNEL)
    calls = {
        'bare matrix product': lambda: np.matmul(queries, references.T, out=product),
        'sequence matching, all': lambda: match_windows(
            queries, windows, references, [windows], _TOP_K),
        'sequence matching, all, with reading': lambda: search(
            build_method('single+seqmatch', length), Drive.of(references), Drive.of(queries)),
        f'sequence matching, {_CANDIDATES} candidates': lambda: rerank_windows(
            queries, windows, references, [windows], candidates),
        'HVPR, second stage: S1 and the candidates': lambda: rerank(
            build_method('s1+seqmatch', length, s1), *drives, candidates),
        f'HVPR, both stages: S{length} (w = {_KERNEL}) and S1': lambda: rerank(
            build_method('s1+seqmatch', length, s1), *drives,
            search(build_method('seqnet', length, layer), *drives, _CANDIDATES).indices),
        'smoothing': lambda: search(
            build_method('smooth', length), Drive.of(references), Drive.of(queries)),
    }
    rounds = _alternate(calls, arguments.rounds)
    literal = _time(lambda: literal_matching(
        queries, references, windows, arguments.literal)) / arguments.literal
    found = match_windows(queries, windows, references, [windows], 1)
    expected = literal_matching(queries, references, windows, 1)
    assert np.isclose(expected.min(), found.distances[0, 0], atol=2e-6)

    print(f'{count} queries, {count} references, D = {arguments.dim}, L = {length}; '
          f'{arguments.rounds} rounds, medians (10th .. 90th percentile)')
    print(_SHOWN.format('', 'all queries, ms', 'of the floor', 'times faster'))
    floor = rounds['bare matrix product']
    for name, seconds in rounds.items():
        # Ratios are taken within a round, so that a busy machine slows both alike.
        ratio = float(np.median(np.array(seconds) / floor))
        faster = literal * count / np.median(seconds) if 'matching' in name else float('nan')
        print(_SHOWN.format(name, str(Timing.of(seconds)), f'{ratio:.2f}',
                            '' if np.isnan(faster) else f'{faster:.0f}'))
    print(f'literal formula, all references: {literal:.2f} s a query')


def make_drives(count: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two noisy float32 ``[count, dim]`` drives along one route, rows of length 1."""
    random = np.random.default_rng(0)
    route = random.standard_normal((count, dim), dtype=np.float32)
    drives = []
    for _ in range(2):
        frames = route + random.standard_normal(route.shape, dtype=np.float32)
        drives.append(frames / np.linalg.norm(frames, axis=1, keepdims=True))
    return drives[0], drives[1]


def literal_matching(queries: np.ndarray, references: np.ndarray, windows: np.ndarray,
                     count: int) -> np.ndarray:
    """Return ``[count, N]``, the mean diagonal distances of the first windows to all."""
    return np.array([[cdist(queries[asked], references[found]).diagonal().mean()
                      for found in windows] for asked in windows[:count]])


def _alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(_time(call))
    return seconds


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.seqnet_matching',
                                     description=__doc__)
    parser.add_argument('--frames', type=int, default=3000, help='of each drive')
    parser.add_argument('--dim', type=int, default=4096)
    parser.add_argument('--length', type=int, default=5)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--literal', type=int, default=2, help='queries of the literal formula')
    return parser.parse_args()


if __name__ == '__main__':
    main()
