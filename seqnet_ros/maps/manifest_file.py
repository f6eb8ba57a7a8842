"""``manifest.json``: the description of a map, with the sizes and checksums of its files."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.documents import MAX_JSON_BYTES, parse_json
from seqnet_ros.core.errors import InputError, MapCorruptError, quoted, shortened
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.place_map import FORMATS, MapManifest, array_names, optional_array_names

MANIFEST = 'manifest.json'
INDEX = 'index.faiss'
COLLECTION = 'collection.json'
"""The list of a collection of maps, in the folder that holds them."""


class ManifestFile(Settings):
    """The content of ``manifest.json``."""

    manifest: MapManifest
    files: dict[str, FileRecord]

    @property
    def total_bytes(self) -> int:
        """Size of all files but the manifest."""
        return sum(record.bytes for record in self.files.values())

    def to_bytes(self) -> bytes:
        """Return the file to write."""
        document: dict[str, Any] = {
            'manifest': self.manifest.model_dump(mode='json'),
            'files': {name: record.to_document() for name, record in self.files.items()}}
        document['sha256'] = document_digest(document)
        return (json.dumps(document, indent=1, sort_keys=True) + '\n').encode()


def parse_manifest_file(content: bytes, where: object) -> ManifestFile:
    """Read and check the content of ``manifest.json``.

    Args:
        content: the file.
        where: the map, for messages.

    Raises:
        MapCorruptError: the manifest is damaged, altered, incomplete or of an unknown format.
    """
    file = f'{where}/{MANIFEST}'
    if len(content) > MAX_JSON_BYTES:
        raise MapCorruptError(f'{file} has {len(content)} bytes, expected at most '
                              f'{MAX_JSON_BYTES}')
    try:
        document = parse_json(content, file)
        version = document['manifest']['format_version']
        if version not in FORMATS:
            raise MapCorruptError(f'{where} has map format {quoted(version)}, this '
                                  f'version reads {", ".join(map(str, FORMATS))}')
        if document['sha256'] != document_digest(document):
            raise MapCorruptError(f'{file} was modified: its checksum does not match its content')
        parsed = ManifestFile.model_validate(
            {'manifest': document['manifest'], 'files': document['files']})
    except InputError as error:
        raise MapCorruptError(f'{file} is damaged: {error}') from error
    except ValidationError as error:
        if unknown := _unknown_fields(error):
            raise MapCorruptError(
                f'{where} was made by a later version: its manifest has {unknown}, which this '
                'version does not know') from error
        raise MapCorruptError(f'{file}: {describe_validation_error(error)}') from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MapCorruptError(f'{file} is damaged: {quoted(error)}') from error
    _check_names(parsed, file)
    return parsed


def _unknown_fields(error: ValidationError) -> str:
    """Return the names of fields that only a later version can have written, at most three."""
    names = ['.'.join(str(part) for part in item['loc'][1:])
             for item in error.errors(include_url=False) if item['type'] == 'extra_forbidden']
    return ', '.join(map(shortened, names[:3])) + (' and more' if len(names) > 3 else '')


def _check_names(parsed: ManifestFile, file: str) -> None:
    names = array_names(parsed.manifest.model) + optional_array_names(parsed.manifest)
    needed = {f'{name}.npy' for name in names}
    if not needed <= set(parsed.files):
        raise MapCorruptError(f'{file} does not list all files of a map')
    foreign = sorted(set(parsed.files) - needed - {INDEX})
    if foreign:
        raise MapCorruptError(f'{file} lists {quoted(foreign[0])}, which is not a file of '
                              'a map')


def document_digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 over manifest and file records as the document holds them."""
    content = {key: document[key] for key in ('manifest', 'files')}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
