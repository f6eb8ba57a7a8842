"""Descriptors of many images, in a temporary file rather than in memory."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from seqnet_ros.core.batches import batches
from seqnet_ros.core.files import explain_write_errors
from seqnet_ros.descriptors.describer import FrameDescriber

IMAGES_AT_ONCE = 8


@contextlib.contextmanager
def described_images(describer: FrameDescriber, images: Iterable[np.ndarray],
                     scratch: Path) -> Iterator[np.ndarray]:
    """Describe images into a temporary file; yields float32 ``[N, D]``, memory-mapped.

    Args:
        describer: makes the vectors.
        images: RGB uint8 ``[H, W, 3]``, at least one.
        scratch: folder of the temporary file.

    Raises:
        InputError: the file cannot be written.
    """
    with explain_write_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as file:
            for batch in batches(images, IMAGES_AT_ONCE):
                file.write(np.ascontiguousarray(describer.describe(batch)).data)
            file.flush()
            yield np.memmap(file, np.float32, 'r').reshape(-1, describer.dim)
