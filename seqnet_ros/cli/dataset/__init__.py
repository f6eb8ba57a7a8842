"""``seqnet_ros dataset``: data for evaluation and training."""

import typer

from seqnet_ros.cli.dataset import prepare
from seqnet_ros.cli.dataset.create import create
from seqnet_ros.cli.dataset.create_msls import create_msls
from seqnet_ros.cli.dataset.download import download
from seqnet_ros.cli.dataset.info import info
from seqnet_ros.cli.dataset.render import render

app = typer.Typer(no_args_is_help=True, help='Create data sets for evaluation and training.')
app.add_typer(prepare.app, name='prepare')
app.command()(render)
app.command()(info)
app.command()(create)
app.command('create-msls')(create_msls)
app.command()(download)
