"""Maps as one file: an archive of a map and of the weights that its model needs.

The archive is a zip file without compression, which descriptors and weights hardly allow. Its
first file, ``archive.json``, states size and SHA-256 of all others: those of the map in ``map/``
and weights in ``weights/``. The map in it names its weights without a folder. The same map gives
the same bytes.

An archive may come from anywhere: its content is compared with what it states and with what the map
names before anything is put in place, and nothing is written outside the folder of the map and the
folder of its weights.
"""

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Literal, NamedTuple

from pydantic import Field, ValidationError

from seqnet_ros.config.model import WeightsConfig
from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.documents import MAX_JSON_BYTES, parse_json
from seqnet_ros.core.errors import InputError, MapCorruptError, MapWriteError, quoted, shortened
from seqnet_ros.core.files import explain_write_errors, refuse_existing, whole_file
from seqnet_ros.core.printable import printable
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.onnx_network import side_files
from seqnet_ros.descriptors.weights import find_weights
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.manifest_file import MANIFEST, ManifestFile, parse_manifest_file
from seqnet_ros.maps.map_reader import check_model, read_manifest
from seqnet_ros.maps.map_writer import check_target, write_map
from seqnet_ros.maps.place_map import MapManifest
from seqnet_ros.models.model_weights import needed_weights, with_changed_weights
from seqnet_ros.models.place_model import build_map_model, weights_folder

CONTENTS = 'archive.json'
_MAP, _WEIGHTS = 'map/', 'weights/'
_NAME = re.compile(r'(map|weights)/(?!\.)[^/\\]{1,200}')
_MOST_FILES = 100
_CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


class _Contents(Settings):
    """The content of ``archive.json``."""

    format: Literal[1] = 1
    files: dict[str, FileRecord] = Field(max_length=_MOST_FILES)


class Archived(NamedTuple):
    """What an archive holds.

    Attributes:
        manifest: of the map.
        weights: names of the files of weights.
        bytes: size of all files.
    """

    manifest: MapManifest
    weights: tuple[str, ...]
    bytes: int


def export_map(path: Path, archive: Path, *, with_weights: bool = True,
               weights: Path | None = None) -> Archived:
    """Write a map and the weights of its model to one file, which must not exist.

    Weights in an installed package are not copied.

    Args:
        path: directory of the map.
        archive: the file to write.
        with_weights: include weights, after checking that they make the map's descriptors.
        weights: local weights, or their folder, if the map does not find them itself.

    Raises:
        MapError: there is no map, or it was altered or made with other weights.
        ModelError: the weights are missing.
        InputError: the file exists or cannot be written.
    """
    refuse_existing((archive,))
    manifest, records = read_manifest(path)
    files: dict[str, Path] = {}
    if with_weights:
        model = build_map_model(manifest.preset, 'cpu', weights, path)
        check_model(manifest, model, path)
        config = with_changed_weights(model.config, lambda one: _packed(one, files))
        manifest = manifest.model_copy(update={'model': config})
    described = ManifestFile(manifest=manifest, files=records).to_bytes()
    content = _Contents(files={
        f'{_MAP}{MANIFEST}': FileRecord(
            bytes=len(described), sha256=hashlib.sha256(described).hexdigest()),
        **{f'{_MAP}{name}': FileRecord(bytes=record.bytes, sha256=record.sha256)
           for name, record in records.items()},
        **{f'{_WEIGHTS}{name}': FileRecord(bytes=file.stat().st_size, sha256=file_sha256(file))
           for name, file in files.items()}})
    with whole_file(archive) as target, zipfile.ZipFile(target, 'w') as packed:
        packed.writestr(_entry(CONTENTS), json.dumps(
            content.model_dump(mode='json', exclude_defaults=True) | {'format': 1}, indent=1))
        packed.writestr(_entry(f'{_MAP}{MANIFEST}'), described)
        for folder, sources in ((_MAP, {name: path / name for name in records}),
                                (_WEIGHTS, files)):
            for name, source in sources.items():
                _pack(packed, f'{folder}{name}', source, content.files[f'{folder}{name}'])
    return Archived(manifest, tuple(files), sum(one.bytes for one in content.files.values()))


def import_map(archive: Path, path: Path, *, overwrite: bool = False, backup: bool = True,
               allow_programs: bool = False) -> Archived:
    """Write the map of an archive, and its weights beside it in the folder ``MAP.weights``.

    Args:
        archive: the file that `export_map` wrote.
        path: directory of the map; the folder that holds it must exist.
        overwrite: replace an existing map.
        backup: keep a map that is replaced.
        allow_programs: accept a network that is a program (TorchScript).

    Raises:
        InputError: the file cannot be read.
        MapCorruptError: it is no archive of a map, is damaged, or holds anything else.
        MapWriteError: as `seqnet_ros.maps.map_writer.save_map`, or there are other weights under
            the same name. What was there is untouched.
    """
    check_target(path, overwrite=overwrite)
    with _opened(archive) as packed:
        contents = _read_contents(packed, archive)
        parsed = parse_manifest_file(
            _read_small(packed, f'{_MAP}{MANIFEST}', contents, archive), archive)
        manifest = parsed.manifest
        names = _check_names(contents, parsed, archive)
        if names and manifest.model.frame.is_program and not allow_programs:
            raise MapCorruptError(
                f'{archive} brings a network that is a program ({manifest.model.frame.label}): '
                'nothing was written; allow programs if you trust its origin')
        folder = path.absolute().with_name(weights_folder(path))
        total = sum(record.bytes for record in contents.files.values())
        _check_space(path, total, archive)
        unpack = _Unpacker(packed, contents, archive)
        added = _unpack_weights(unpack, names, folder)
        try:
            write_map(lambda staging: unpack.all(_MAP, [MANIFEST, *parsed.files], staging), path,
                      overwrite=overwrite, backup=backup)
        except BaseException:
            for file in added:
                file.unlink()
            if added and not any(folder.iterdir()):
                folder.rmdir()
            raise
    return Archived(manifest, names, total)


def _packed(weights: WeightsConfig, files: dict[str, Path]) -> WeightsConfig:
    """Add the files of weights to those of the archive; return how the map names them there."""
    if weights.package is not None:
        return weights
    path = find_weights(weights, None)
    if path is None:
        return weights  # random ones
    name = path.name
    if files.get(name, path) != path:
        assert weights.sha256 is not None
        name = f'{weights.sha256[:16]}-{name}'
    files[name] = path
    for side in side_files(path):
        files[side.name] = side
    return weights.model_copy(update={'path': name})


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry


def _pack(packed: zipfile.ZipFile, name: str, source: Path, record: FileRecord) -> None:
    entry = _entry(name)
    entry.file_size = record.bytes
    digest = hashlib.sha256()
    with source.open('rb') as file, packed.open(entry, 'w', force_zip64=True) as target:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != record.sha256:
        raise MapCorruptError(f'{source} was modified: its checksum does not match')


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive, and name it in errors about its content."""
    try:
        if not archive.is_file():
            raise InputError(f'no archive at {archive}: found '
                             f"{'a folder' if archive.is_dir() else 'nothing'}, expected a file "
                             'that `seqnet_ros map export` wrote')
        with zipfile.ZipFile(archive) as packed:
            yield packed
    except OSError as error:
        raise InputError(f'{archive} cannot be read: {error.strerror or error}') from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise MapCorruptError(
            f'{archive} is not a whole archive of a map: {shortened(error)}') from error


def _read_contents(packed: zipfile.ZipFile, archive: Path) -> _Contents:
    entries = {entry.filename: entry for entry in packed.infolist()}
    if CONTENTS not in entries:
        raise MapCorruptError(f'{archive} is not an archive of a map: it holds no {CONTENTS}')
    if len(packed.infolist()) != len(entries):
        raise MapCorruptError(f'{archive} holds a name twice')
    for name, entry in entries.items():
        # Nothing can be larger in the map than it is in the archive.
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise MapCorruptError(f'{archive} holds {shortened(name)} compressed or encrypted, '
                                  'expected plain files')
    size = archive.stat().st_size
    if sum(entry.file_size for entry in entries.values()) > size:
        raise MapCorruptError(f'{archive} states more bytes than it has')
    if entries[CONTENTS].file_size > MAX_JSON_BYTES:
        raise MapCorruptError(f'{archive}: {CONTENTS} has {entries[CONTENTS].file_size} bytes, '
                              f'expected at most {MAX_JSON_BYTES}')
    try:
        contents = _Contents.model_validate(
            parse_json(packed.read(CONTENTS), f'{archive}: {CONTENTS}'))
    except InputError as error:
        raise MapCorruptError(str(error)) from error
    except ValidationError as error:
        raise MapCorruptError(
            f'{archive}: {CONTENTS}: {describe_validation_error(error)}') from error
    for name in contents.files:
        if not _NAME.fullmatch(name) or printable(name) != name:
            raise MapCorruptError(f'{archive} names {quoted(name)}, expected files of '
                                  'map/ and weights/')
    if found := sorted(set(contents.files) ^ (set(entries) - {CONTENTS})):
        raise MapCorruptError(f'{archive}: {CONTENTS} and the files differ in '
                              f'{quoted(found[0])}')
    for name, record in contents.files.items():
        if entries[name].file_size != record.bytes:
            raise MapCorruptError(f'{archive}: {shortened(name)} has {entries[name].file_size} '
                                  f'bytes, expected {record.bytes}')
    return contents


def _check_names(contents: _Contents, parsed: ManifestFile, archive: Path) -> tuple[str, ...]:
    """Check that an archive holds the files of its map and weights that it names, no others."""
    expected = {f'{_MAP}{name}' for name in (MANIFEST, *parsed.files)}
    names = tuple(name.removeprefix(_WEIGHTS) for name in contents.files
                  if name.startswith(_WEIGHTS))
    if found := sorted(({name for name in contents.files if name.startswith(_MAP)}) ^ expected):
        raise MapCorruptError(f'{archive} and its manifest differ in {quoted(found[0])}')
    named = {Path(one.path) for one in needed_weights(parsed.manifest.model)
             if one.path is not None and one.package is None}
    allowed = {file.name for path in named for file in (path, *side_files(path, existing=False))}
    if foreign := sorted(set(names) - allowed):
        raise MapCorruptError(f'{archive} holds {quoted(foreign[0])}, which its map does '
                              'not name as weights')
    return names


def _check_space(path: Path, total: int, archive: Path) -> None:
    free = shutil.disk_usage(path.absolute().parent).free
    if total > free:
        raise MapWriteError(f'{archive} holds {total} bytes, but only {free} are free at '
                            f'{path.absolute().parent}: nothing was written')


def _read_small(packed: zipfile.ZipFile, name: str, contents: _Contents, archive: Path) -> bytes:
    record = contents.files.get(name)
    if record is None or record.bytes > MAX_JSON_BYTES:
        raise MapCorruptError(f'{archive} holds no {name} of at most {MAX_JSON_BYTES} bytes')
    return packed.read(name)


class _Unpacker:
    """Writes files of an archive, comparing each with its checksum."""

    def __init__(self, packed: zipfile.ZipFile, contents: _Contents, archive: Path) -> None:
        self._packed = packed
        self.contents = contents
        self._archive = archive

    def all(self, prefix: str, names: list[str], folder: Path) -> None:
        """Write files under their names to a new folder."""
        for name in names:
            with (folder / name).open('xb') as target:
                self.one(f'{prefix}{name}', target)

    def one(self, name: str, target: BinaryIO | IO[bytes]) -> None:
        """Write one file.

        Raises:
            MapCorruptError: it is not what the archive states.
        """
        digest = hashlib.sha256()
        with self._packed.open(name) as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != self.contents.files[name].sha256:
            raise MapCorruptError(f'{self._archive}: {name} was modified: its checksum does not '
                                  'match')


def _unpack_weights(unpack: _Unpacker, names: tuple[str, ...], folder: Path) -> list[Path]:
    """Write the weights that are not there yet; return the new files."""
    if not names:
        return []
    is_new = not folder.exists()
    if not is_new and (folder.is_symlink() or not folder.is_dir()):
        raise MapWriteError(f'{folder} is not a folder: nothing was written')
    wanted = [name for name in names if not (folder / name).exists()]
    for name in names:
        known = unpack.contents.files[f'{_WEIGHTS}{name}'].sha256
        if name not in wanted and file_sha256(folder / name) != known:
            raise MapWriteError(f'{folder / name} holds other weights: nothing was written; move '
                                'it, or import the map under another name')
    added: list[Path] = []
    try:
        with explain_write_errors(folder):
            folder.mkdir(exist_ok=True)
        for name in wanted:
            with whole_file(folder / name) as target:
                unpack.one(f'{_WEIGHTS}{name}', target)
            added.append(folder / name)
    except BaseException:
        for file in added:
            file.unlink()
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return added
