"""The command line's entry point."""

import os
from typing import Annotated

import typer

from seqnet_ros import __version__
from seqnet_ros.cli import (
    bags,
    comparing,
    datasets,
    descriptors,
    evaluating,
    localizing,
    loops,
    maps,
    models,
    training,
    tuning,
)
from seqnet_ros.cli.console import CommandGroup, log_to_console, results

app = typer.Typer(
    name='seqnet_ros', cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']},
    help='Visual place recognition: make maps of recorded drives and find camera images in them.')
app.add_typer(maps.app, name='map')
app.command()(localizing.localize)
app.command()(loops.loops)
app.command()(descriptors.describe)
app.add_typer(evaluating.app, name='evaluate')
app.command()(comparing.compare)
app.command()(tuning.tune)
app.add_typer(models.app, name='models')
app.add_typer(bags.app, name='bag')
app.add_typer(datasets.app, name='dataset')
app.add_typer(training.app, name='train')


def _print_version(wanted: bool) -> None:
    if wanted:
        results.print(f'seqnet_ros {__version__}', highlight=False)
        raise typer.Exit


@app.callback()
def _prepare(
    version: Annotated[bool, typer.Option(
        '--version', callback=_print_version, is_eager=True, help='Show the version.')] = False,
) -> None:
    # OpenCV would print warnings of its own about every damaged image.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')
    log_to_console()


def main() -> None:
    """Run the command with the arguments of the process."""
    app(prog_name='seqnet_ros')


if __name__ == '__main__':
    main()
