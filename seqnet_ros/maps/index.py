"""Coarse search over the sequence descriptors of a map, with faiss.

Small maps are searched exactly, on the (memory-mapped) descriptors themselves. Larger ones get a
graph (HNSW; Malkov and Yashunin, TPAMI 2020), built once, when the map is made. The graph refers to
the descriptors of the map and holds no copy of them. docs/performance.md has the measurements
behind the limit and the parameters.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np

from seqnet_ros.core.errors import MapCorruptError, MapError

EXACT_BYTES = 64 << 20
"""Sequence descriptors up to this size are all compared: one core reads them in about 2 ms."""

GROWING_EXACT_BYTES = 16 << 20
"""Up to this size all descriptors of a growing drive are compared; from there on the graph is
faster."""

_NEIGHBOURS = 24
_BUILD_BEAM = 48
_SEARCH_BEAM = 384
_BUILD_BYTES = 32 << 20
_LONG_DIM, _BUILD_DIM = 2048, 512
"""Longer descriptors are projected to so many values to choose the links of the graph."""


class CoarseIndex(Protocol):
    """Finds the sequence descriptors nearest to a query."""

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances ``[k']`` and places ``[k']``, nearest first, ``k' <= k``.

        Args:
            query: float32 ``[D']``.
            k: number of places wanted.
        """
        ...


@contextlib.contextmanager
def one_faiss_thread() -> Iterator[None]:
    """Run faiss on the calling thread alone.

    One core reads as fast as the memory delivers, and waiting for a second one that another program
    keeps busy takes 40 ms instead of 1.2 ms. Graphs are only built the same twice by one thread.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class ExactIndex:
    """Compares the query with every place."""

    def __init__(self, sequences: np.ndarray) -> None:
        """Search in float32 ``[N, D']``, which is not copied."""
        self._sequences = sequences

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances and places, nearest first."""
        k = min(k, len(self._sequences))
        with one_faiss_thread():
            squared, places = faiss.knn(query[None], self._sequences, k)
        return _found(squared[0], places[0])


class HnswIndex:
    """Walks a navigable graph of places."""

    def __init__(self, graph: faiss.IndexHNSW, sequences: np.ndarray) -> None:
        """Join a graph with the float32 ``[N, D']`` descriptors of its places, not copied."""
        self._graph = graph
        self._graph.hnsw.efSearch = _SEARCH_BEAM
        # faiss holds bare pointers: what they point at lives as long as this object.
        self._sequences = sequences
        self._storage = _flat_view(sequences)
        self._graph.storage = self._storage
        self._graph.own_fields = False

    @classmethod
    def build(cls, sequences: np.ndarray) -> 'HnswIndex':
        """Build the graph over float32 ``[N, D']``, the same one every time.

        Links between long descriptors are chosen by a random projection of them, which takes less
        memory and time; searches compare the descriptors themselves.
        """
        dim = sequences.shape[1]
        signs = _random_signs(dim) if dim > _LONG_DIM else None
        graph = faiss.IndexHNSWFlat(dim if signs is None else _BUILD_DIM, _NEIGHBOURS)
        graph.hnsw.efConstruction = _BUILD_BEAM
        block = max(1, _BUILD_BYTES // (4 * dim))
        with one_faiss_thread():
            for start in range(0, len(sequences), block):
                rows = np.ascontiguousarray(sequences[start: start + block])
                graph.add(rows if signs is None else np.ascontiguousarray(rows @ signs))
        graph.d = dim
        copy = graph.storage
        # The graph lets go of its copy for a view; the copy is freed here.
        copy.thisown = True  # type: ignore[attr-defined]
        return cls(graph, sequences)

    @classmethod
    def open(cls, path: Path, sequences: np.ndarray, where: str = '') -> 'HnswIndex':
        """Open the saved graph of these descriptors.

        Args:
            path: the file that `save` wrote.
            sequences: float32 ``[N, D']``, not copied.
            where: name of the file in messages; its path by default.

        Raises:
            MapCorruptError: the file is not a graph, one of another size, or leads out of it.
        """
        places, dim = sequences.shape
        where = where or str(path)
        try:
            graph = faiss.read_index(str(path), faiss.IO_FLAG_SKIP_STORAGE)
        except RuntimeError as error:
            raise MapCorruptError(f'{where} is not a readable index, expected one that faiss has '
                                  'written') from error
        if not isinstance(graph, faiss.IndexHNSWFlat):
            raise MapCorruptError(
                f'{where} is a {type(graph).__name__}, expected an IndexHNSWFlat')
        if graph.ntotal != places or graph.d != dim:
            raise MapCorruptError(f'{where} indexes {graph.ntotal} places of {graph.d} values, '
                                  f'expected {places} of {dim}')
        if not _leads_to_places_only(graph.hnsw, places):
            raise MapCorruptError(f'{where} is damaged: its links lead out of the map')
        return cls(graph, sequences)

    def save(self, path: Path) -> None:
        """Write the graph to a file."""
        faiss.write_index(  # type: ignore[call-overload]
            self._graph, str(path), faiss.IO_FLAG_SKIP_STORAGE)

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances and places, nearest first."""
        with one_faiss_thread():
            squared, places = self._graph.search(query[None], min(k, self._graph.ntotal))
        return _found(squared[0], places[0])


class LateIndex:
    """Opens another index when it is searched for the first time.

    Args:
        make: opens it.
    """

    def __init__(self, make: Callable[[], CoarseIndex]) -> None:
        self._make = make
        self._index: CoarseIndex | None = None

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances and places, nearest first.

        Raises:
            MapError: the index cannot be opened.
        """
        if self._index is None:
            self._index = self._make()
        return self._index.search(query, k)


class GrowingIndex:
    """Takes in places one at a time, which `HnswIndex` cannot. Holds a copy of the descriptors.

    The graph grows from the first place on, so that no insertion is much more expensive than
    others.
    """

    def __init__(self, dim: int) -> None:
        """Start empty, for descriptors of ``dim`` values."""
        self._graph = faiss.IndexHNSWFlat(dim, _NEIGHBOURS)
        self._graph.hnsw.efConstruction = _BUILD_BEAM
        self._graph.hnsw.efSearch = _SEARCH_BEAM

    def __len__(self) -> int:
        """Return the number of places."""
        return self._graph.ntotal

    def add(self, sequences: np.ndarray) -> None:
        """Add float32 ``[N, D']`` descriptors; their places are numbered on."""
        with one_faiss_thread():
            self._graph.add(np.ascontiguousarray(sequences))

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the L2 distances and places, nearest first."""
        if not len(self):
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        small = 4 * len(self) * self._graph.d <= GROWING_EXACT_BYTES
        searched = self._graph.storage if small else self._graph
        with one_faiss_thread():
            squared, places = searched.search(query[None], min(k, len(self)))
        return _found(squared[0], places[0])


def build_index(sequences: np.ndarray) -> CoarseIndex:
    """Return the index that suits the size of the descriptors."""
    return ExactIndex(sequences) if sequences.nbytes <= EXACT_BYTES else HnswIndex.build(sequences)


def _found(squared: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances and places that faiss found, without place -1, its filler."""
    valid = (places >= 0) & np.isfinite(squared)
    return np.sqrt(np.maximum(squared[valid], 0)), places[valid]


def _random_signs(dim: int) -> np.ndarray:
    """Return random signs, float32 ``[dim, _BUILD_DIM]``, the same every time."""
    signs = np.random.default_rng(0).integers(0, 2, (dim, _BUILD_DIM), np.int8)
    return signs.astype(np.float32) * 2 - 1


def _leads_to_places_only(hnsw: faiss.HNSW, places: int) -> bool:
    """Return whether every link of a graph leads to a place that exists on its level.

    faiss follows links without looking.
    """
    levels = faiss.vector_to_array(hnsw.levels).astype(np.int64)
    offsets = faiss.vector_to_array(hnsw.offsets).astype(np.int64)  # type: ignore[attr-defined]
    links = faiss.vector_to_array(hnsw.neighbors)  # type: ignore[attr-defined]
    # Where the links of each level begin among those of one place.
    begin = faiss.vector_to_array(hnsw.cum_nneighbor_per_level).astype(np.int64)
    if not (len(levels) == places and len(offsets) == places + 1 and places > 0
            and levels.min() >= 1 and levels.max() < len(begin) and (np.diff(begin) >= 0).all()
            and offsets[0] == 0 and (np.diff(offsets) == begin[levels]).all()
            and offsets[-1] == len(links) and links.min() >= -1 and links.max() < places
            and 0 <= hnsw.entry_point < places
            and 0 <= hnsw.max_level < levels[hnsw.entry_point]):
        return False
    for level in range(1, int(levels.max())):
        on_level = np.flatnonzero(levels > level)
        columns = np.arange(begin[level], begin[level + 1])
        targets = links[offsets[on_level][:, None] + columns]
        if (levels[targets[targets >= 0]] <= level).any():
            return False
    return True


def _flat_view(sequences: np.ndarray) -> faiss.IndexFlatL2:
    """Return a flat index that reads its vectors from ``sequences``."""
    if not hasattr(faiss, 'MaybeOwnedVectorUInt8'):
        raise MapError(f'maps of this size need faiss 1.11 or newer, found {faiss.__version__}')
    flat = faiss.IndexFlatL2(sequences.shape[1])
    content = np.ndarray(sequences.nbytes, np.uint8, sequences)
    flat.codes = faiss.MaybeOwnedVectorUInt8.create_view(  # type: ignore[attr-defined]
        faiss.swig_ptr(content), content.size, flat.codes.owner)
    flat.ntotal = len(sequences)
    return flat
