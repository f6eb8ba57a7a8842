"""Manifest entry of one file of a map."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import Field

from seqnet_ros.config.settings import Settings

BLOCK_BYTES = 4 << 20
"""Files larger than this have a checksum for every block of this size, too."""

_Digest = Annotated[str, Field(pattern='^[0-9a-f]{64}$')]


class FileRecord(Settings):
    """Size and checksums of one file of a map."""

    bytes: int = Field(ge=0, description='Size of the file.')
    sha256: _Digest = Field(description='SHA-256 of the file.')
    blocks: tuple[_Digest, ...] = Field(
        (), description='SHA-256 of each block of 4 MiB, the last one shorter; none for a file of '
                        'one block, and in maps of earlier versions.')

    @classmethod
    def of_file(cls, path: Path) -> 'FileRecord':
        """Return size and checksums of a file."""
        with path.open('rb') as file:
            return cls.of_content(file)

    @classmethod
    def of_content(cls, file: BinaryIO) -> 'FileRecord':
        """Return size and checksums of what an open file still holds."""
        whole, blocks, size = hashlib.sha256(), [], 0
        while block := file.read(BLOCK_BYTES):
            whole.update(block)
            blocks.append(hashlib.sha256(block).hexdigest())
            size += len(block)
        return cls(bytes=size, sha256=whole.hexdigest(),
                   blocks=tuple(blocks) if len(blocks) > 1 else ())

    def to_document(self) -> dict[str, Any]:
        """Return the record as JSON; files of one block are written as in earlier versions."""
        return self.model_dump(mode='json', exclude_defaults=True)
