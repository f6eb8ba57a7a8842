"""``seqnet_ros map collection``: many maps, searched as one."""

import typer

from seqnet_ros.cli.map.collection.create import create
from seqnet_ros.cli.map.collection.info import info
from seqnet_ros.cli.map.collection.split import split
from seqnet_ros.cli.map.collection.verify import verify

app = typer.Typer(no_args_is_help=True, help='Search many maps, the tiles, as one.')
app.command()(create)
app.command()(split)
app.command()(info)
app.command()(verify)
