"""The store: files of tiles, named by their content, in a folder or at an https address.

What a server names is a hash, never where to find the file: files are read only from the store that
the user names, and compared with their hash before they are used.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from seqnet_ros.core.errors import FleetError, InputError, ModelError
from seqnet_ros.core.files import explain_write_errors, require_file, sync_folder
from seqnet_ros.descriptors.download import Limits, fetch, file_sha256
from seqnet_ros.maps.fleet.directory import StoredFile

_CHUNK = 1 << 20
_SECONDS_PER_GB = 600.0
_LEAST_SECONDS = 60.0


class Store:
    """Files by their hash.

    Args:
        where: a folder, such as a mounted share or bucket, or an https address.

    Raises:
        InputError: it is neither.
    """

    def __init__(self, where: str) -> None:
        if not where:
            raise InputError('the store is not named, expected --store or the parameter '
                             'fleet.store: the folder or https address with the archives of tiles')
        self.where = where
        self._folder = None if '://' in where else Path(where).expanduser()
        if self._folder is None and not where.startswith('https://'):
            raise InputError(f'store {where} is neither a folder nor an https address')

    def check_writable(self) -> Path:
        """Return the folder that files are added to.

        Raises:
            InputError: the store is no folder.
        """
        if self._folder is None:
            raise InputError(f'store {self.where} cannot be written to, expected a folder')
        if not self._folder.is_dir():
            raise InputError(f'store {self._folder} is not a folder, expected one that exists')
        return self._folder

    def add(self, write: Callable[[Path], object], suffix: str) -> StoredFile:
        """Add a file; one of the same content stays.

        Args:
            write: writes it to a path that does not exist.
            suffix: the end of its name, such as '.zip'.

        Raises:
            InputError: the store is no folder, or cannot be written.
        """
        folder = self.check_writable()
        with explain_write_errors(folder), tempfile.TemporaryDirectory(
                prefix='.part-', dir=folder) as part:
            path = Path(part) / f'file{suffix}'
            write(path)
            added = StoredFile(bytes=path.stat().st_size, sha256=file_sha256(path))
            target = folder / f'{added.sha256}{suffix}'
            if not target.is_file() or target.stat().st_size != added.bytes:
                path.chmod(0o644)
                path.replace(target)
                sync_folder(folder)
        return added

    def get(self, file: StoredFile, suffix: str, target: Path) -> None:
        """Copy a file to a path, compared with its hash.

        Raises:
            FleetError: it is missing, or another one.
            InputError: the target cannot be written.
        """
        name = f'{file.sha256}{suffix}'
        if self._folder is None:
            self._download(file, name, target)
            return
        source = self._folder / name
        try:
            require_file(source, 'archive')
        except InputError as error:
            raise FleetError(f'store {self.where} has no readable file {name}, which the server '
                             'names') from error
        digest, size = hashlib.sha256(), 0
        try:
            with source.open('rb') as read, explain_write_errors(target), \
                    target.open('xb') as copy:
                while (chunk := read.read(_CHUNK)) and size <= file.bytes:
                    digest.update(chunk)
                    copy.write(chunk)
                    size += len(chunk)
        except OSError as error:
            raise FleetError(f'{source} cannot be read: {error.strerror or error}') from error
        if size != file.bytes or digest.hexdigest() != file.sha256:
            target.unlink(missing_ok=True)
            raise FleetError(f'{source} is damaged: its content does not match its name')

    def _download(self, file: StoredFile, name: str, target: Path) -> None:
        limits = Limits(file.bytes, _LEAST_SECONDS + file.bytes / 1e9 * _SECONDS_PER_GB)
        try:
            found = fetch(f'{self.where.rstrip("/")}/{name}', file.sha256, limits)
        except ModelError as error:
            raise FleetError(f'store {self.where}: {error}') from error
        with explain_write_errors(target):
            shutil.move(found, target)
