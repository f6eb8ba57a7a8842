"""Reading and writing files that a user named."""

import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, TextIO

from seqnet_ros.core.errors import InputError

MAX_TEXT_BYTES = 256 << 20
_CHUNK = 1 << 16


def read_limited(path: str | PathLike[str], max_bytes: int, what: str = 'file') -> bytes:
    """Read a file of a limited size; never a device or a pipe, which may have no end.

    Args:
        path: the file.
        max_bytes: its size, at most.
        what: what to call it in an error.

    Raises:
        InputError: it is missing, cannot be read, is too large or is no regular file.
    """
    try:
        # A pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, 'rb') as file:  # noqa: PTH123
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f'{what} {path} is not a regular file')
            if found.st_size > max_bytes:
                raise InputError(f'{what} {path} has {found.st_size} bytes, expected at most '
                                 f'{max_bytes}')
            # Reading makes room for as many bytes as it is asked for.
            content = file.read(found.st_size)
            while len(content) <= max_bytes and (more := file.read(_CHUNK)):
                content += more
    except OSError as error:
        raise InputError(f'{what} {path} cannot be read: {error.strerror or error}') from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f'{what} {os.fspath(path)!r} cannot be read: {error}') from error
    if len(content) > max_bytes:  # files of /proc state no size; others may grow
        raise InputError(f'{what} {path} has more than {max_bytes} bytes')
    return content


def read_text(path: str | PathLike[str]) -> str:
    """Read a table or a list, UTF-8 with or without a byte order mark, of at most 256 MiB.

    Raises:
        InputError: it is missing, cannot be read, is too large or is no text.
    """
    try:
        return read_limited(path, MAX_TEXT_BYTES).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not text, expected UTF-8') from error


def require_file(path: str | PathLike[str], what: str = 'file') -> None:
    """Check that a file may be opened by a library: opening a pipe would block.

    Raises:
        InputError: it is missing, or a folder, a device or a pipe.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise InputError(f'{what} {path} cannot be read: {reason}') from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f'{what} {path} is not a regular file')


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
    """Write a file that appears complete or not at all, even when the power fails.

    A symbolic link is followed, not replaced.

    Raises:
        InputError: it cannot be written; an existing file is untouched.
    """
    target = Path(os.path.realpath(path))
    # A unique name: two processes may write the same file, and a user may own NAME.part.
    part = target.with_name(f'.{target.name}.{secrets.token_hex(4)}.part')
    with explain_write_errors(target):
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open('xb') as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Make a folder beside a target, for files that are put in place when all are complete.

    It is removed at the end, unless it was renamed.

    Args:
        target: file or folder to be written; the folder that holds it is made.

    Raises:
        InputError: it cannot be made, or an operation in the block failed.
    """
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(
            prefix=f'.{target.name}.', suffix='.part', dir=target.parent))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def move_new_files(staging: Path, last: Path) -> None:
    """Move the files of a `staging_folder` beside a target, which is one of them and comes last.

    Raises:
        InputError: one of them exists there.
        OSError: one cannot be moved; none is there then.
    """
    targets = {path: last.with_name(path.name) for path in staging.iterdir()}
    refuse_existing(targets.values())
    moved: list[Path] = []
    try:
        for path, target in sorted(targets.items(), key=lambda item: item[1] == last):
            with path.open('rb') as file:
                os.fsync(file.fileno())
            path.replace(target)
            moved.append(target)
        sync_folder(last.parent)
    except BaseException:
        for target in moved:
            target.unlink(missing_ok=True)
        raise


def lock_part(file: IO[Any], path: Path) -> bool:
    """Lock an open file that gets its final name later; return whether no other process has it.

    Args:
        file: opened without truncating it.
        path: the name it was opened by.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other process may have given it its final name between opening and locking.
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def open_part(path: Path) -> TextIO:
    """Open a file for rows that get their final name later; no other process may have it open.

    What an interrupted run left in it is discarded.

    Raises:
        InputError: another process writes it.
        OSError: it cannot be written.
    """
    file = path.open('a', encoding='utf-8', newline='', buffering=1)
    if not lock_part(file, path):
        file.close()
        raise InputError(f'another process writes {path}: wait for it, or name another output')
    file.truncate(0)
    return file


def finish_parts(parts: Iterable[tuple[TextIO, Path]]) -> None:
    """Give files of `open_part` their final names, after the rows of all are on the disk.

    A symbolic link is followed, not replaced.

    Args:
        parts: the open files, and the final name of each.

    Raises:
        OSError: one cannot be written.
    """
    files = list(parts)
    for file, _ in files:
        file.flush()
        os.fsync(file.fileno())
    for file, path in files:
        Path(file.name).replace(os.path.realpath(path))


def sync_folder(path: Path) -> None:
    """Make names in a folder last: what was renamed or made there is there after a power failure.

    Raises:
        OSError: the folder is gone, or the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, or the folder itself if it does not exist."""
    return os.access(_nearest(folder), os.W_OK | os.X_OK,
                     effective_ids=os.access in os.supports_effective_ids)


def require_writable(folder: Path) -> None:
    """Check that files can be made in a folder, so that a read-only disk fails before long work.

    Raises:
        InputError: they cannot.
    """
    found = _nearest(folder)
    if not found.is_dir():
        raise InputError(f'{folder} cannot be written: {found} is a file, expected a folder')
    if not is_writable(folder):
        raise InputError(f'{folder} cannot be written: it is read-only for this user')


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def refuse_file(output: Path) -> None:
    """Check that the path of a folder to be written is not a file, and can be written.

    Raises:
        InputError: it is a file, or it is read-only.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f'output {output} is a file, expected a folder')
    require_writable(output)


def refuse_existing(paths: Iterable[Path]) -> None:
    """Check that files to be written replace nothing, not even a link to nothing.

    Their folders must not be read-only, so that this is known before long work.

    Raises:
        InputError: one exists, or its folder is read-only.
    """
    for path in paths:
        if os.path.lexists(path):
            raise InputError(f'{path} exists, expected a new file')
        require_writable(path.parent)


def begins_with(path: Path, beginning: str) -> bool:
    """Return whether a file begins with a text, as those that a command wrote itself do.

    Raises:
        OSError: it cannot be read.
    """
    expected = beginning.encode()
    with path.open('rb') as file:
        return file.read(len(expected)) == expected


def is_same_path(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same file or folder, which need not exist."""
    return os.path.realpath(one) == os.path.realpath(other)


def prepare_outputs(paths: Iterable[Path | None], is_own: Callable[[Path], bool]) -> None:
    """Make the folders of output files, so that a bad path fails before long work.

    Args:
        paths: the files; None entries are ignored.
        is_own: whether a file that exists is a result of an earlier run, which may be replaced.

    Raises:
        InputError: a path is a folder or another file, or its folder cannot be made or is
            read-only.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f'output {path} is a folder, expected a file')
        if path.exists() and not is_own(path):
            raise InputError(f'output {path} exists and is not a result of this command, expected '
                             'a new file')
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        require_writable(path.parent)
