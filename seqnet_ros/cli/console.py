"""Console output: messages and progress to stderr, results to stdout."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.core.printable import printable

INCOMPLETE = 1
BAD_INPUT = 2
_UNLIMITED = 10_000

messages = Console(stderr=True)
results = Console()


class CommandGroup(TyperGroup):
    """Commands that report invalid input in one message and exit with status 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the selected command."""
        try:
            return super().invoke(ctx)
        except SeqnetRosError as error:
            say('Error: ', str(error), style='bold red')
            raise typer.Exit(BAD_INPUT) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            # A disk that is full or gone, a name that is too long, a missing permission.
            where = '' if error.filename is None else f'{os.fsdecode(error.filename)}: '
            say('Error: ', f'{where}{error.strerror or error}', style='bold red')
            raise typer.Exit(BAD_INPUT) from error
        except typer.BadParameter as error:
            error.message = printable(error.message)
            raise


class _ConsoleHandler(logging.Handler):
    """Writes records above a progress bar; in a file they are not wrapped."""

    def emit(self, record: logging.LogRecord) -> None:
        urgent = record.levelno >= logging.WARNING
        say('Warning: ' if urgent else '', record.getMessage(), style='yellow' if urgent else '')


def log_to_console() -> None:
    """Show the log messages of the package, from level INFO."""
    logger = logging.getLogger('seqnet_ros')
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(_ConsoleHandler())


def say(label: str, message: str, style: str = '') -> None:
    """Write one line to stderr; in a file it is not wrapped."""
    messages.print(Text(label, style), Text(printable(message)), sep='', soft_wrap=True)


def print_fields(fields: Mapping[str, object]) -> None:
    """Write names and values to stdout, one per line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        results.print(Text(f'{name:<{width}}  ', 'bold'), Text(printable(str(value), lines=True)),
                      sep='', soft_wrap=True)


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Write a table to stdout; in a file it is not wrapped."""
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    (results if results.is_terminal else Console(width=_UNLIMITED)).print(table)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal; yields the function that updates it."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True,
                  disable=not messages.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that work of unknown length is in progress."""
    with messages.status(what):
        yield
