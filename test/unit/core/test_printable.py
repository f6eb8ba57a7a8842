"""Nothing that is printed controls a terminal."""

import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqnet_ros.cli.console import log_to_console, print_fields, print_table, say
from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.printable import printable

HOSTILE = '\x1b]0;owned\x07\x1b[2J\r\x9b1m\u202egnp.exe\n$ done \udcff\x00'


@pytest.mark.parametrize(('text', 'expected'), [
    ('plain, ünïcode, 地图', 'plain, ünïcode, 地图'), ('\x1b[31mred', '\\x1b[31mred'),
    ('two\nlines', 'two\\x0alines'), ('\u202eabc', '\\u202eabc'), ('\x9b', '\\x9b'),
    (os.fsdecode(b'a\xffb'), 'a\\xffb')])
def test_control_characters_become_escapes(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_lines_of_tracebacks_stay() -> None:
    assert printable('a\n\tb\x1b', lines=True) == 'a\n\tb\\x1b'


@given(st.text())
def test_the_result_is_always_printable_and_stays_as_it_is(text: str) -> None:
    once = printable(text)
    once.encode()
    assert printable(once) == once
    assert all(character.isprintable() or character.isspace() or ord(character) > 0x9f
               for character in once)


def test_errors_are_one_line_of_limited_length() -> None:
    text = str(InputError(f'name {HOSTILE}' + 'x' * 100_000))
    assert text.startswith('name \\x1b]0;owned\\x07\\x1b[2J\\x0d')
    assert '\n' not in text
    assert len(text) < 5000
    assert shortened('one\ntwo') == 'one'
    assert shortened(ValueError()) == 'ValueError'
    assert len(shortened('y' * 1000)) == 203


def test_whatever_the_command_line_prints_is_harmless(capfd: pytest.CaptureFixture) -> None:
    say('Error: ', HOSTILE)
    print_fields({'map': HOSTILE})
    print_table(('topic', 'type'), [(HOSTILE, HOSTILE)])
    log_to_console()
    # pytest cannot report what no text file can hold.
    logging.getLogger('seqnet_ros.test').warning('%s', HOSTILE.replace('\udcff', ''))
    captured = capfd.readouterr()
    for text in captured:
        assert 'owned' in text
        assert not set(text) & set('\x1b\x07\r\x9b\u202e\0')
