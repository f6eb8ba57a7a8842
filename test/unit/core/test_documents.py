"""YAML and JSON of unknown origin: within limits, and one sentence about what is wrong."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from refusal import refusal

from seqnet_ros.core.documents import (
    MAX_YAML_BYTES,
    parse_json,
    parse_yaml,
    read_json,
    read_yaml,
)
from seqnet_ros.core.errors import InputError

BILLION = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{name}: &{name} [{", ".join(9 * ["*" + before])}]\n'
    for before, name in zip('abcdefghi', 'bcdefghij', strict=True))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8)


def test_aliases_that_stand_for_billions_of_values_are_refused() -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match='stand for more than 100000 values'):
        parse_yaml(BILLION, 'recipe')
    assert time.monotonic() - started < 5


def test_merged_mappings_that_grow_are_refused() -> None:
    text = 'a: &a {x: &x [1, 2, 3, 4, 5, 6, 7, 8, 9], y: *x}\n' + ''.join(
        f'{name}: &{name} {{<<: *{before}, p: [*{before}, *{before}, *{before}], q: '
        f'[*{before}, *{before}, *{before}, *{before}]}}\n'
        for before, name in zip('abcdefghi', 'bcdefghij', strict=True))
    with pytest.raises(InputError, match='stand for more than'):
        parse_yaml(text, 'recipe')


def test_a_few_aliases_are_fine() -> None:
    assert parse_yaml('a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a', 'recipe') == {
        'a': {'x': 1}, 'b': {'x': 1, 'y': 2}, 'c': {'x': 1}}
    assert parse_yaml('', 'recipe') is None
    assert parse_yaml('a: 1\n---\nb: [', 'message') == {'a': 1}


@pytest.mark.parametrize(('text', 'words'), [
    ('&a [*a]', 'a value contains itself'), ('[' * 60, 'nested more than 50 deep'),
    ('- ' * 60 + 'x', 'nested more than 50 deep'), ('a: [', 'recipe, line 1: '),
    ('x\n' * 2 + 'a: "' + 'y' * 5000, 'line 3: .{0,300}$'), ('!!python/name:os.system', 'line 1'),
    ('? [a]\n: b', 'unhashable'), ('2001-99-99', 'cannot be read as YAML'),
    ('a: \0', 'cannot be read as YAML: .{0,200}$'), ('x' * (MAX_YAML_BYTES + 1), 'at most 1048576'),
    ('!!int "' + '9' * 10_000 + '"', '.{0,300}$'), ('<<: 1', 'line 1')])
def test_bad_yaml_is_one_short_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        parse_yaml(text, 'recipe')
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(('content', 'words'), [
    (b'[' * 100_000, 'nested too deep'), (b'{"a":' * 100_000, 'nested too deep'),
    (b'{"a": 1', 'is not JSON'), (b'', 'is not JSON'), (b'\xff\xfe', 'is not UTF-8 text: byte 0'),
    (b'9' * 10_000, 'is not JSON: .{0,200}')])
def test_bad_json_is_one_short_sentence(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        parse_json(content, 'manifest')
    assert len(str(raised.value)) < 400


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for read in (read_yaml, read_json):
        with pytest.raises(InputError, match=r'nothing.yaml cannot be read: No such file'):
            read(tmp_path / 'nothing.yaml')
        with pytest.raises(InputError, match='too long'):
            read(tmp_path / ('x' * 300))
        with pytest.raises(InputError, match='null byte'):
            read('a\0b')
        with pytest.raises(InputError, match='not a regular file'):
            read('/dev/zero')
        with pytest.raises(InputError, match=r'directory|regular file'):
            read(tmp_path)
    large = tmp_path / 'large.yaml'
    with large.open('wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match='1099511627776 bytes, expected at most'):
        read_yaml(large)


@given(st.text(max_size=60) | st.text(alphabet='&*a[]{}:,-? \n"!<|%0.', max_size=60))
@example('&a [*a, *a]')
@example('<<: [*a]')
def test_any_text_gives_values_or_an_error(text: str) -> None:
    assert len(refusal(lambda: parse_yaml(text, 'text'))) < 400


@given(st.binary(max_size=60))
def test_any_bytes_give_values_or_an_error(content: bytes) -> None:
    assert len(refusal(lambda: parse_json(content, 'bytes'))) < 400


@given(PLAIN)
def test_what_was_written_is_read(value: object) -> None:
    import json

    import yaml

    assert parse_json(json.dumps(value).encode(), 'value') == value
    assert parse_yaml(yaml.safe_dump(value), 'value') == yaml.safe_load(yaml.safe_dump(value))
