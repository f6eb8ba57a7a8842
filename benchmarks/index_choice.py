"""Why the coarse index is what it is: ``python -m benchmarks.index_choice [PLACES]``.

Compares graphs (HNSW) and inverted files (IVF) with their parameters, on the synthetic route.
"""

import sys
import time
from collections.abc import Callable

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import cached_map
from benchmarks.timing import time_calls
from seqnet_ros.maps.index import one_faiss_thread
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.models.place_model import load_model

_QUERIES, _TOP_K = 300, 20
_GRAPHS = ((16, 40), (24, 48), (32, 80))
_BEAMS = (64, 128, 256, 384, 512)
_PROBES = (8, 32, 128)


def main() -> None:
    """Measure and print."""
    places = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    model = load_model('benchmarks/resnet18.yaml', device='cpu')
    path, route, _ = cached_map(model, places)
    sequences = np.ascontiguousarray(open_map(path, model).sequences)
    _, queries = route.queries(_QUERIES, model)
    exact = faiss.knn(queries, sequences, _TOP_K)[1]
    table = Table('index', 'build, s', 'search', 'recall@20', 'one query, ms',
                  title=f'{places:,} places, one thread')

    def add(name: str, build: Callable[[], faiss.Index], steps: tuple[int, ...],
            setting: Callable[[faiss.Index, int], None]) -> None:
        started = time.perf_counter()
        index = build()
        seconds = time.perf_counter() - started
        for step in steps:
            setting(index, step)
            found = [index.search(query[None], _TOP_K)[1][0] for query in queries]
            recall = np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)])
            timing = time_calls(lambda query: index.search(query[None], _TOP_K), queries)
            table.add_row(name, f'{seconds:.1f}', str(step), f'{recall:.4f}', str(timing))

    with one_faiss_thread():
        for neighbours, beam in _GRAPHS:
            add(f'HNSW, {neighbours} neighbors, build beam {beam}',
                lambda n=neighbours, b=beam: _graph(sequences, n, b), _BEAMS,
                lambda index, step: setattr(index.hnsw, 'efSearch', step))
        lists = int(4 * np.sqrt(places))
        add(f'IVF, {lists} lists', lambda: _inverted_file(sequences, lists), _PROBES,
            lambda index, step: setattr(index, 'nprobe', step))
    Console(width=120).print(table)


def _graph(sequences: np.ndarray, neighbours: int, beam: int) -> faiss.Index:
    index = faiss.IndexHNSWFlat(sequences.shape[1], neighbours)
    index.hnsw.efConstruction = beam
    index.add(sequences)
    return index


def _inverted_file(sequences: np.ndarray, lists: int) -> faiss.Index:
    quantizer = faiss.IndexFlatL2(sequences.shape[1])
    index = faiss.IndexIVFFlat(quantizer, sequences.shape[1], lists)
    index.train(sequences[::2])
    index.add(sequences)
    index.quantizer = quantizer  # faiss keeps a bare pointer
    return index


if __name__ == '__main__':
    main()
