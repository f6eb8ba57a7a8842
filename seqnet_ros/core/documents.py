"""YAML and JSON of unknown origin, read within limits.

A few hundred bytes of YAML aliases stand for billions of values, and deep nesting ends a recursive
parser; here, size, depth and expanded size are limited, and errors quote little of the input.
"""

import json
from os import PathLike
from typing import Any

import yaml

from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.files import read_limited

MAX_YAML_BYTES = 1 << 20
"""Size of a YAML file, at most; model files and recipes take a few kB."""
MAX_JSON_BYTES = 16 << 20
"""Size of a JSON file, at most."""
_MAX_DEPTH = 50
_MAX_VALUES = 100_000


class _LimitedLoader(yaml.SafeLoader):
    """Composes nodes to a limited depth and number; an alias counts as what it stands for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node.

        Raises:
            InputError: it is nested too deep, expands to too many values, or contains itself.
        """
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InputError(f'values are nested more than {_MAX_DEPTH} deep')
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise InputError('a value contains itself')
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in _children(node))
        if self._sizes[id(node)] > _MAX_VALUES:
            raise InputError(f'aliases and lists stand for more than {_MAX_VALUES} values')
        return node


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def parse_yaml(text: str, what: str) -> Any:
    """Parse the first document of a YAML text.

    Args:
        text: the text.
        what: what to call it in an error, with its article where it needs one.

    Returns:
        Plain values; None of an empty text.

    Raises:
        InputError: the text is not valid YAML, too large, nested too deep, or expands to too many
            values.
    """
    if len(text) > MAX_YAML_BYTES:
        raise InputError(f'{what} has {len(text)} characters, expected at most {MAX_YAML_BYTES}')
    try:
        loader = _LimitedLoader(text)
        try:
            return loader.get_data() if loader.check_data() else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = shortened(str(error.problem or error.context))
        raise InputError(f'{what}, line {line}: {reason}') from error
    except InputError as error:
        raise InputError(f'{what}: {error}') from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError,
            OverflowError) as error:
        raise InputError(f'{what} cannot be read as YAML: {shortened(error)}') from error


def read_yaml(path: str | PathLike[str]) -> Any:
    """Read the first document of a YAML file.

    Raises:
        InputError: as for `parse_yaml`, or the file cannot be read; the message names it.
    """
    content = read_limited(path, MAX_YAML_BYTES)
    return parse_yaml(_as_text(content, path), str(path))


def parse_json(content: bytes, what: str) -> Any:
    """Parse a JSON document.

    Args:
        content: UTF-8 text.
        what: what to call it in an error.

    Raises:
        InputError: it is not valid JSON, or nested too deep.
    """
    try:
        return json.loads(_as_text(content, what))
    except RecursionError as error:
        raise InputError(f'{what} is not JSON that can be read: it is nested too deep') from error
    except ValueError as error:
        raise InputError(f'{what} is not JSON: {shortened(error)}') from error


def read_json(path: str | PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        InputError: as for `parse_json`, or the file cannot be read; the message names it.
    """
    return parse_json(read_limited(path, MAX_JSON_BYTES), str(path))


def _as_text(content: bytes, what: str | PathLike[str]) -> str:
    try:
        return content.decode('utf-8')
    except UnicodeDecodeError as error:
        raise InputError(f'{what} is not UTF-8 text: byte {error.start} is '
                         f'0x{content[error.start]:02x}') from error
