"""Ctrl-C before a command runs prints no traceback."""

import signal
import subprocess
import sys

import pytest

from seqnet_ros.cli.interrupts import end_when_interrupted


@pytest.mark.parametrize('module', ['seqnet_ros.pydantic_version', 'typer'])
def test_an_interrupt_during_the_imports_ends_the_process(module: str) -> None:
    """The process interrupts itself while it imports a module of the command line."""
    code = f"""
import builtins, os, signal
real = builtins.__import__
def interrupted(name, *rest):
    if name == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = interrupted
import seqnet_ros.cli.main
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ''


def test_handlers_are_as_before_afterwards() -> None:
    def own(*_: object) -> None: ...

    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.default_int_handler, own):
            signal.signal(signal.SIGINT, handler)
            with end_when_interrupted():
                found = signal.getsignal(signal.SIGINT)
                assert found is (own if handler is own else signal.SIG_DFL)
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
