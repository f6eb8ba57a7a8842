"""Coarse search over the sequence descriptors of a map, with faiss.

Small maps are searched exactly, on the (memory-mapped) descriptors themselves. Above
`EXACT_LIMIT` places a graph index (HNSW; Malkov and Yashunin, TPAMI 2020) is built once, when
the map is saved; the limit comes from `benchmarks/`, see docs/performance.md.
"""

from pathlib import Path
from typing import Protocol

import faiss
import numpy as np

from seqnet_ros.errors import MapCorruptError

EXACT_LIMIT = 20_000
_NEIGHBOURS = 32
_BUILD_BEAM = 80
_SEARCH_BEAM = 128


class CoarseIndex(Protocol):
    """Finds the sequence descriptors nearest to a query."""

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances ``[k']`` and places ``[k']``, nearest first, ``k' <= k``.

        Args:
            query: float32 ``[D']``.
            k: number of places wanted.
        """


class ExactIndex:
    """Compares the query with every place."""

    def __init__(self, sequences: np.ndarray) -> None:
        """Search in float32 ``[N, D']``, which is not copied."""
        self._sequences = sequences

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances and places, nearest first."""
        k = min(k, len(self._sequences))
        squared, places = faiss.knn(query[None], self._sequences, k)
        return np.sqrt(np.maximum(squared[0], 0)), places[0]


class HnswIndex:
    """Walks a navigable graph of places."""

    def __init__(self, index: faiss.Index) -> None:
        """Wrap a faiss index with an HNSW graph."""
        self._index = index
        self._index.hnsw.efSearch = _SEARCH_BEAM

    @classmethod
    def build(cls, sequences: np.ndarray) -> 'HnswIndex':
        """Build the graph over float32 ``[N, D']``, on all cores."""
        index = faiss.IndexHNSWFlat(sequences.shape[1], _NEIGHBOURS)
        index.hnsw.efConstruction = _BUILD_BEAM
        block = 65536
        for start in range(0, len(sequences), block):
            index.add(np.ascontiguousarray(sequences[start: start + block]))
        return cls(index)

    @classmethod
    def open(cls, path: Path, places: int, dim: int) -> 'HnswIndex':
        """Open a saved index.

        Raises:
            MapCorruptError: the file is not an index, or one of another size.
        """
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise MapCorruptError(f'{path} is not a readable index') from error
        if index.ntotal != places or index.d != dim:
            raise MapCorruptError(f'{path} indexes {index.ntotal} places of {index.d} values, '
                                  f'expected {places} of {dim}')
        return cls(index)

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        faiss.write_index(self._index, str(path))

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances and places, nearest first."""
        squared, places = self._index.search(query[None], min(k, self._index.ntotal))
        found = places[0] >= 0
        return np.sqrt(np.maximum(squared[0][found], 0)), places[0][found]


def build_index(sequences: np.ndarray) -> CoarseIndex:
    """Return the index that suits the number of places."""
    return ExactIndex(sequences) if len(sequences) <= EXACT_LIMIT else HnswIndex.build(sequences)
