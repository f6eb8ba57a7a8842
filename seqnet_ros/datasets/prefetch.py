"""Decode images ahead of their use, in threads: a single thread would limit a GPU."""

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image

_MOST_THREADS = 16


def prefetch_images(paths: Iterable[Path],
                    ahead: int) -> Generator[np.ndarray | InputError, None, None]:
    """Yield images in the order of their paths while threads decode the next ones.

    Args:
        paths: image files.
        ahead: how many images may be waiting, which bounds the memory.

    Yields:
        RGB uint8 ``[H, W, 3]``, or the error if the image cannot be read.
    """
    threads = max(1, min(_MOST_THREADS, os.cpu_count() or 1, ahead))
    rest = iter(paths)
    with ThreadPoolExecutor(threads, thread_name_prefix='decode') as pool:
        waiting: deque[Future[np.ndarray | InputError]] = deque(
            pool.submit(_read, path) for path in islice(rest, ahead))
        try:
            while waiting:
                image = waiting.popleft().result()
                waiting.extend(pool.submit(_read, path) for path in islice(rest, 1))
                yield image
        finally:
            for future in waiting:
                future.cancel()


def _read(path: Path) -> np.ndarray | InputError:
    try:
        return read_image(path)
    except InputError as error:
        return error
