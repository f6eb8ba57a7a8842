"""Real image sets for tests, checked before they are used."""

from functools import cache
from pathlib import Path

import pytest

_SIGNATURES = (b'\xff\xd8\xff', b'\x89PNG')


def image_set(shared_data: Path, name: str) -> Path:
    """Return the folder of an image set; skip the test where it is absent or incomplete."""
    folder = shared_data / name
    if not folder.is_dir():
        pytest.skip(f'{folder} is absent')
    damaged = _damaged_images(folder)
    if damaged:
        pytest.skip(f'{len(damaged)} images of {folder} are damaged, {damaged[0]} is one of them')
    return folder


@cache
def _damaged_images(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.rglob('*')):
        if path.suffix in ('.jpg', '.png'):
            with path.open('rb') as file:
                if not file.read(4).startswith(_SIGNATURES):
                    found.append(path.name)
    return found
