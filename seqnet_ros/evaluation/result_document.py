"""Result documents: frozen models, written as JSON and validated when they are read back."""

import json
import zipfile
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, ValidationError

from seqnet_ros.core.documents import MAX_JSON_BYTES
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import MAX_TEXT_BYTES, read_limited, whole_file

_DIGITS = 6


def _finite(value: Any) -> Any:
    """Return None for NaN and infinity, which JSON cannot hold."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _rounded(value: Any) -> Any:
    value = _finite(value)
    return round(float(value), _DIGITS) if isinstance(value, float) else value


Finite = Annotated[float | None, BeforeValidator(_finite)]
"""A number; None where it is not finite."""
Metric = Annotated[float | None, BeforeValidator(_rounded)]
"""A number with six decimals; None where there is nothing to measure."""
Length = Annotated[float, BeforeValidator(_rounded)]
"""A distance with six decimals."""


class ResultDocument(BaseModel):
    """Base of all result documents. Fields are written in their order; unset ones are omitted."""

    model_config = ConfigDict(frozen=True, extra='forbid')

    def as_json(self) -> dict[str, JsonValue]:
        """Return the document as JSON has it."""
        return self.model_dump(mode='json', exclude_unset=True)

    def set_fields(self) -> dict[str, Any]:
        """Return the fields that are set, to combine two documents."""
        return {name: getattr(self, name) for name in self.model_fields_set}


Document = TypeVar('Document', bound=ResultDocument)


def write_document(path: Path, document: ResultDocument) -> None:
    """Write a document.

    Raises:
        InputError: the file cannot be written.
    """
    with whole_file(path) as file:
        file.write((json.dumps(document.as_json(), indent=1, allow_nan=False) + '\n').encode())


def is_result(path: Path) -> bool:
    """Return whether a file is what an evaluation of searches writes: a document or predictions."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as arrays:
                return 'preds.npy' in arrays.namelist()
        found = json.loads(read_limited(path, MAX_JSON_BYTES))
    except (InputError, ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile):
        return False
    return isinstance(found, dict) and bool({'recall', 'methods'} & found.keys())


def read_document(path: Path, kind: type[Document], what: str) -> Document:
    """Read a document.

    Args:
        path: the JSON file.
        kind: its model.
        what: what the file is expected to be.

    Raises:
        InputError: the file cannot be read, or is another kind of document.
    """
    try:
        return kind.model_validate_json(read_limited(path, MAX_TEXT_BYTES))
    except InputError as error:
        problem = getattr(error.__cause__, 'strerror', None) or str(error)
    except ValidationError as error:
        first, *more = error.errors(include_url=False, include_input=False)
        where = '.'.join(map(str, first['loc']))
        problem = f'{where}: {first["msg"]}' if where else first['msg']
        problem += f' (and {len(more)} more problems)' if more else ''
    raise InputError(f'{path} is not {what}: {problem}')
