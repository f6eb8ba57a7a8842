"""``seqnet_ros train``: train networks that describe images and sequences."""

import typer

from seqnet_ros.cli.train.cosplace import cosplace
from seqnet_ros.cli.train.jist import jist
from seqnet_ros.cli.train.seqnet import seqnet

app = typer.Typer(no_args_is_help=True, help='Train networks that describe images and sequences.')
app.command()(jist)
app.command()(cosplace)
app.command()(seqnet)
