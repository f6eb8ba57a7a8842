"""The command line's entry point."""

import os
from typing import Annotated

from seqnet_ros.cli.interrupts import end_when_interrupted

with end_when_interrupted():
    import typer

    from seqnet_ros import __version__
    from seqnet_ros.cli import bag, dataset, evaluate, map, models, train
    from seqnet_ros.cli.compare import compare
    from seqnet_ros.cli.console import CommandGroup, log_to_console, results
    from seqnet_ros.cli.describe import describe
    from seqnet_ros.cli.doctor import doctor
    from seqnet_ros.cli.localize import localize
    from seqnet_ros.cli.loops import loops
    from seqnet_ros.cli.quickstart import quickstart
    from seqnet_ros.cli.tune import tune

app = typer.Typer(
    name='seqnet_ros', cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']},
    help='Visual place recognition: build maps from recorded drives and localize camera images in '
         'them.')
app.add_typer(map.app, name='map')
app.command()(quickstart)
app.command()(doctor)
app.command()(localize)
app.command()(loops)
app.command()(describe)
app.add_typer(evaluate.app, name='evaluate')
app.command()(compare)
app.command()(tune)
app.add_typer(models.app, name='models')
app.add_typer(bag.app, name='bag')
app.add_typer(dataset.app, name='dataset')
app.add_typer(train.app, name='train')


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
