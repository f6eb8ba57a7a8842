"""Writing files that a user named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqnet_ros.errors import InputError


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission and their like into one sentence.

    Raises:
        InputError: the file system refused something within the block.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from error
