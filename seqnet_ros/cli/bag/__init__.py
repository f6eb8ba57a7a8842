"""``seqnet_ros bag``: write bags."""

import typer

from seqnet_ros.cli.bag.write import write

app = typer.Typer(no_args_is_help=True, help='Write bags.')
app.command()(write)


@app.callback()
def _group() -> None:
    """Keep `write` a subcommand, although it is the only one."""
