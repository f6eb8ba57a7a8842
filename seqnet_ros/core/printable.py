"""Text of unknown origin, made harmless for terminals and logs.

Names of files and topics, manifests and messages may hold control characters: they could move the
cursor, hide or forge lines, or run commands of a terminal.
"""

import re

MOST_CHARACTERS = 4000
"""Of one message, at most; what is longer is cut."""

# C0 and C1 control characters, marks that change the direction of writing, line separators, and
# bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile(
    '[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]')
_UNPRINTABLE_IN_LINES = re.compile(_UNPRINTABLE.pattern.replace('\x00-\x1f', '\x00-\x08\x0b-\x1f'))


def printable(text: str, lines: bool = False) -> str:
    r"""Return a text with control characters as escapes such as ``\\x1b``, and not too long.

    Args:
        text: the text.
        lines: keep line feeds and tabs: of tracebacks and tables.
    """
    found = _UNPRINTABLE_IN_LINES if lines else _UNPRINTABLE
    if len(text) > MOST_CHARACTERS and not lines:
        text = f'{text[:MOST_CHARACTERS]}... ({len(text)} characters)'
    return found.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Python decodes a byte that is not UTF-8 to such a character.
    if 0xdc80 <= code <= 0xdcff:
        code -= 0xdc00
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}'
