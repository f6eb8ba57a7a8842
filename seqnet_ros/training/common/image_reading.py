"""Images for training: decoded and resized by threads; a broken one never ends a run."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.descriptors.image_checks import resize_antialiased
from seqnet_ros.training.common.distributed import ProcessGroupSlice

Item = TypeVar('Item')


class ImageSize(NamedTuple):
    """Size that images are resized to, pixels."""

    height: int
    width: int


class Pixels(NamedTuple):
    """Images of one batch.

    Attributes:
        pixels: uint8 ``[B, H, W, 3]``, RGB.
        rows: int64 ``[B]``, numbers of these images among the requested ones.
        complaints: errors of images that could not be read.
    """

    pixels: Tensor
    rows: Tensor
    complaints: tuple[str, ...]


def read_resized(path: Path, size: ImageSize) -> np.ndarray:
    """Read an image of any kind as RGB uint8 ``[H, W, 3]`` of one size.

    Raises:
        InputError: it is missing, empty, damaged or not an image.
    """
    return resize_antialiased(read_image(path), *size)


def read_batch(paths: Sequence[Path], size: ImageSize) -> Pixels:
    """Read some images, skipping unreadable ones."""
    images, rows, complaints = [], [], []
    for row, path in enumerate(paths):
        try:
            images.append(read_resized(path, size))
            rows.append(row)
        except InputError as error:
            complaints.append(str(error))
    return stack(images, rows, size, tuple(complaints))


def stack(images: Sequence[np.ndarray], rows: Sequence[int], size: ImageSize,
          complaints: tuple[str, ...]) -> Pixels:
    """Make a batch of images of one size; of none an empty one."""
    pixels = np.stack(images) if images else np.empty((0, *size, 3), np.uint8)
    return Pixels(torch.from_numpy(pixels), torch.tensor(rows, dtype=torch.int64), complaints)


class ReadAhead(Generic[Item]):
    """Items by number, read ahead by threads, in order.

    Decoding and resizing let other threads run. Processes in their place would need the pixels
    copied, and a signal to all of them can leave the training process waiting forever.

    Args:
        count: number of items.
        read: reads one, whatever was read before.
        workers: threads, each with an item of its own; 0 reads an item when it is requested.
    """

    def __init__(self, count: int, read: Callable[[int], Item], workers: int) -> None:
        self._count, self._read, self._workers = count, read, workers

    def __len__(self) -> int:
        """Return the number of items."""
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        if not self._workers:
            yield from map(self._read, range(self._count))
            return
        numbers = iter(range(self._count))
        with ThreadPoolExecutor(self._workers, thread_name_prefix='read') as pool:
            waiting = deque(pool.submit(self._read, number)
                            for number in islice(numbers, self._workers))
            try:
                while waiting:
                    item = waiting.popleft().result()
                    waiting.extend(pool.submit(self._read, number) for number in islice(numbers, 1))
                    yield item
            finally:
                for future in waiting:
                    future.cancel()


class Descriptors(NamedTuple):
    """Descriptors of some images.

    Attributes:
        values: float32 ``[N, D]``; zeros where an image could not be read.
        lost: bool ``[N]``, images that could not be read.
        complaints: errors of these images; with several processes, of some of them.
    """

    values: Tensor
    lost: Tensor
    complaints: tuple[str, ...]


def describe_images(describe: Callable[[Tensor], Tensor], path_of: Callable[[int], Path],
                    rows: np.ndarray, size: ImageSize, dim: int, device: torch.device,
                    batch: int, workers: int, shared: ProcessGroupSlice) -> Descriptors:
    """Describe images, each once; several processes share them.

    Args:
        describe: pixels uint8 ``[B, H, W, 3]`` on the device to descriptors ``[B, D]``.
        path_of: the file of a row.
        rows: int ``[N]``, the images to describe.
        size: to resize to.
        dim: length D of the descriptors.
        device: of the results.
        batch: images described at once.
        workers: threads that read.
        shared: how several processes share the images.
    """
    own = shared.positions(len(rows))
    parts = torch.from_numpy(rows)[own].split(batch)
    starts = range(0, len(own), batch)
    values = torch.zeros(len(own), dim, device=device)
    lost = torch.ones(len(own), dtype=torch.uint8, device=device)
    complaints: list[str] = []
    read = ReadAhead(len(parts), lambda number: read_batch(
        [path_of(row) for row in parts[number].tolist()], size), workers)
    with torch.no_grad():
        for start, found in zip(starts, read, strict=True):
            positions = (found.rows + start).to(device)
            if len(positions):
                values[positions] = describe(found.pixels.to(device)).float()
                lost[positions] = 0
            complaints += found.complaints
    return Descriptors(shared.join(values, len(rows)), shared.join(lost, len(rows)).bool(),
                       tuple(complaints))
