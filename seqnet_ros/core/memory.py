"""Memory that was freed, but that the process still holds."""

import ctypes


def give_back_memory() -> None:
    """Give freed memory back to the system, which takes some milliseconds.

    glibc keeps what was freed below blocks that are in use, so that a process that loads maps again
    and again slowly grows. Other C libraries are left alone.
    """
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)
