"""Cases in child processes, which may end in any way without ending the campaign."""

import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from faults.outcome import ENDLESS, FAILURES, KILLED, MEMORY, REFUSED, TRACEBACK, Outcome
from seqnet_ros.core.errors import SeqnetRosError

Case = TypeVar('Case')

_OUR_CODE = '/seqnet_ros/'
_LONGEST_MESSAGE = 5000
_PATIENCE = 10
_MIB = 1 << 20


class CaseError(Exception):
    """A case ended as it must not.

    Args:
        ending: how.
        text: what is known about it.
    """

    def __init__(self, ending: str, text: object) -> None:
        super().__init__(ending, str(text))
        self.ending, self.text = ending, str(text)


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Attributes:
        mib: growth of resident memory, MiB.
        seconds: CPU time, so that other programs do not count; it may take `_PATIENCE` times as
            long in all.
    """

    mib: float = 1500.0
    seconds: int = 30


def in_child(job: Callable[[], object]) -> int:
    """Run a job in a forked process; return its exit status, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            job()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_line(job: Callable[[], object], line: int) -> None:
    """Run a job in a forked process, which is killed at a line of our code that it comes to."""
    in_child(lambda: _traced(job, line))


def lines_of(job: Callable[[], object]) -> int:
    """Run a job in a forked process; return how many lines of our code it comes to.

    Raises:
        RuntimeError: the job fails.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading) as answer, os.fdopen(writing, 'w') as counted:
        if in_child(lambda: print(_traced(job, -1), file=counted, flush=True)):
            raise RuntimeError('the job fails where nothing disturbs it')
        return int(answer.readline())


def chosen_lines(job: Callable[[], object], chance: random.Random, most: int) -> list[int]:
    """Return lines of our code that a job comes to, by number: all, or ``most`` of them."""
    lines = range(1, lines_of(job) + 1)
    return list(lines) if len(lines) <= most else sorted(chance.sample(lines, most))


def _traced(job: Callable[[], object], stop: int) -> int:
    """Run a job; return how many lines of our code it came to, or end the process at one."""
    counted = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal counted
        if _OUR_CODE not in frame.f_code.co_filename:
            return None
        if event == 'line':
            counted += 1
            if counted == stop:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        job()
    finally:
        sys.settrace(None)
    return counted


def without_space(job: Callable[[], object], limit: int,
                  refusal: type[SeqnetRosError] = SeqnetRosError) -> int:
    """Run a job whose files may not grow beyond a size, which fails like a full disk.

    Args:
        job: the job.
        limit: the size, bytes.
        refusal: the error that it may end with.

    Returns:
        The exit status; not 0 for any other error.
    """
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with suppress(refusal):
            job()

    return in_child(limited)


def run_cases(cases: Sequence[Case], run: Callable[[Case], str], outcome: Outcome,
              limits: Limits = Limits(), name: Callable[[Case], str] = str) -> None:
    """Run cases in child processes, a new one after each that ends its process.

    Args:
        cases: the cases.
        run: runs one; returns how it ended, or raises `CaseError`. A `SeqnetRosError` of one line
            is a refusal, any other exception a traceback.
        outcome: where to count.
        limits: what a case may take.
        name: describes a case.
    """
    first = 0
    while first < len(cases):
        first = _run_until_it_ends(cases, first, run, outcome, limits, name)


def _run_until_it_ends(cases: Sequence[Case], first: int, run: Callable[[Case], str],
                       outcome: Outcome, limits: Limits, name: Callable[[Case], str]) -> int:
    """Run cases in one child process; return the number of the next case."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        # The libraries that decode images write a line about each damaged one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(writing, 'w') as answers:
            for case in cases[first:]:
                print(json.dumps(_try(case, run, limits)), file=answers, flush=True)
        os._exit(0)
    os.close(writing)
    done = first
    with os.fdopen(reading) as answers:
        for line in answers:
            ending, text, mib = json.loads(line)
            outcome.add(ending, f'{name(cases[done])}: {text}')
            outcome.peak_mib = max(outcome.peak_mib, mib)
            done += 1
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if done < len(cases):
        ending = ENDLESS if -status in (signal.SIGALRM, signal.SIGPROF) else KILLED
        outcome.add(ending, f'{name(cases[done])}: status {status}')
        done += 1
    return done


def _try(case: Case, run: Callable[[Case], str], limits: Limits) -> tuple[str, str, float]:
    before = _forget_peak()
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
    signal.alarm(_PATIENCE * limits.seconds)
    try:
        ending, text = run(case), ''
    except CaseError as failed:
        ending, text = failed.ending, failed.text
    except SeqnetRosError as error:
        ending, text = REFUSED, str(error)
        if '\n' in text or len(text) > _LONGEST_MESSAGE:
            ending = TRACEBACK
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        ending, text = TRACEBACK, f'{error!r:.300} at {where.filename}:{where.lineno}'
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    mib = (_status('VmHWM') - before) / _MIB
    if mib > limits.mib and ending not in FAILURES:
        ending, text = MEMORY, f'{mib:.0f} MiB'
    return ending, text[:500], mib


def _forget_peak() -> int:
    """Let the kernel measure the peak of memory anew; return the present use, bytes."""
    Path('/proc/self/clear_refs').write_text('5')
    return resident_bytes()


def resident_bytes() -> int:
    """Return the memory in use by this process, bytes."""
    return _status('VmRSS')


def _status(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

