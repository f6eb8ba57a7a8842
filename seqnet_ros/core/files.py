"""Writing files that a user named."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

from seqnet_ros.core.errors import InputError


@contextmanager
def explain_write_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Turn a full disk, a missing permission and similar errors into one message.

    Raises:
        InputError: the file system reported an error within the block.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from error


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file that appears complete or not at all.

    A symbolic link is followed, not replaced.

    Raises:
        InputError: it cannot be written; an existing file is untouched.
    """
    target = Path(os.path.realpath(path))
    # A unique name: two processes may write the same file, and a user may own NAME.part.
    part = target.with_name(f'.{target.name}.{secrets.token_hex(4)}.part')
    with explain_write_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open('xb') as file:
                yield file
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def refuse_file(output: Path) -> None:
    """Check that the path of a folder to be written is not a file.

    Raises:
        InputError: it is a file.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f'output {output} is a file, expected a folder')


def prepare_outputs(paths: Iterable[Path | None]) -> None:
    """Make the folders of output files, so that a bad path fails before long work.

    Raises:
        InputError: a path is a folder, or its folder cannot be made.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f'output {path} is a folder, expected a file')
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
