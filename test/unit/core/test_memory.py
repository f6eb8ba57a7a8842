"""Freed memory goes back to the system."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest

from seqnet_ros.core.memory import give_back_memory

_BYTES, _COUNT = 100_000, 500
"""Too small for glibc to map each by itself; 50 MB in all."""


def resident_bytes() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='needs glibc')
def test_memory_between_blocks_in_use_is_given_back() -> None:
    freed = [np.ones(_BYTES, np.uint8) for _ in range(_COUNT)]
    used = np.ones(_BYTES, np.uint8)  # above them, so that they stay with the process
    freed.clear()
    before = resident_bytes()
    give_back_memory()
    assert before - resident_bytes() > 0.5 * _COUNT * _BYTES
    assert used.all()
