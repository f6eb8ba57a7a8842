"""``seqnet_ros models``: list models, fetch their weights, and make new ones."""

import typer

from seqnet_ros.cli.models.bench import bench
from seqnet_ros.cli.models.create import create
from seqnet_ros.cli.models.export import export
from seqnet_ros.cli.models.fetch import fetch
from seqnet_ros.cli.models.fit_netvlad import fit_netvlad
from seqnet_ros.cli.models.fit_reduction import fit_reduction
from seqnet_ros.cli.models.fit_vlad import fit_vlad
from seqnet_ros.cli.models.list import list_models

app = typer.Typer(no_args_is_help=True, help='List, fetch and create models.')
app.command('list')(list_models)
app.command()(fetch)
app.command()(bench)
app.command()(create)
app.command('fit-netvlad')(fit_netvlad)
app.command('fit-vlad')(fit_vlad)
app.command('fit-reduction')(fit_reduction)
app.command()(export)
