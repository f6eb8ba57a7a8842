"""Importing this rejects a pydantic that is too old, such as Ubuntu's 1.10, in one sentence.

Raises:
    ImportError: names the version found and the version needed.
"""

import pydantic

NEEDED = '2.12'
"""The lower bound in ``pyproject.toml``."""

if tuple(map(int, pydantic.VERSION.split('.')[:2])) < tuple(map(int, NEEDED.split('.'))):
    raise ImportError(f'found pydantic {pydantic.VERSION}, expected {NEEDED} or newer: '
                      f"install it with pip install 'pydantic>={NEEDED}'")
