"""Licenses of weights: which of them let everybody use, change and pass on what they cover."""

_FREE = frozenset({
    'MIT', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'CC0-1.0', 'CC-BY-4.0',
    'CC-BY-SA-4.0', 'GPL-2.0', 'GPL-3.0', 'LGPL-2.1', 'LGPL-3.0', 'AGPL-3.0', 'MPL-2.0',
    'Unlicense'})

UNKNOWN = 'unknown'
"""What stands for a license that nobody stated."""


def is_free(license_name: str) -> bool:
    """Return whether a license, by its SPDX name, permits every use."""
    return license_name.removesuffix('-only').removesuffix('-or-later') in _FREE
