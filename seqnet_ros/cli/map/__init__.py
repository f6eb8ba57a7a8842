"""``seqnet_ros map``: make and check maps."""

import typer

from seqnet_ros.cli.map import collection
from seqnet_ros.cli.map.build import build
from seqnet_ros.cli.map.coverage import coverage
from seqnet_ros.cli.map.export_map import export_map
from seqnet_ros.cli.map.import_map import import_map
from seqnet_ros.cli.map.info import info
from seqnet_ros.cli.map.merge import merge
from seqnet_ros.cli.map.pull import pull
from seqnet_ros.cli.map.push import push
from seqnet_ros.cli.map.refresh import refresh
from seqnet_ros.cli.map.verify import verify

app = typer.Typer(no_args_is_help=True, help='Build, verify and copy maps.')
app.command()(build)
app.command()(merge)
app.command()(refresh)
app.command()(info)
app.command()(verify)
app.command()(coverage)
app.command('export')(export_map)
app.command('import')(import_map)
app.command()(push)
app.command()(pull)
app.add_typer(collection.app, name='collection')
