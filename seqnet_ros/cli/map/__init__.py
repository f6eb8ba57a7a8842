"""``seqnet_ros map``: make and check maps."""

import typer

from seqnet_ros.cli.map.build import build
from seqnet_ros.cli.map.info import info
from seqnet_ros.cli.map.verify import verify

app = typer.Typer(no_args_is_help=True, help='Build and verify maps.')
app.command()(build)
app.command()(info)
app.command()(verify)
