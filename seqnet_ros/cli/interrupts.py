"""Ctrl-C before a command runs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_when_interrupted() -> Iterator[None]:
    """End the process at once on Ctrl-C, as other programs do, while the command line is imported.

    Python would print where it was. A handler that somebody else has set stays.
    """
    own = (threading.current_thread() is threading.main_thread()
           and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    if own:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)
