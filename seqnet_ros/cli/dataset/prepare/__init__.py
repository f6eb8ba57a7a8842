"""``seqnet_ros dataset prepare``: the public data that JIST trains and tests on."""

import typer

from seqnet_ros.cli.dataset.prepare.msls import msls
from seqnet_ros.cli.dataset.prepare.robotcar import robotcar
from seqnet_ros.cli.dataset.prepare.sf_xl import sf_xl

app = typer.Typer(no_args_is_help=True, help='Convert public data sets to the folder layout of '
                                             'JIST.')
app.command()(msls)
app.command()(robotcar)
app.command('sf-xl')(sf_xl)
