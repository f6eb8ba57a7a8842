"""``seqnet_ros evaluate``: the methods of SeqNet; its subcommands measure other things."""

import typer

from seqnet_ros.cli.evaluate.bags import evaluate_bags
from seqnet_ros.cli.evaluate.seqnet import evaluate
from seqnet_ros.cli.evaluate.sequences import evaluate_sequences

app = typer.Typer()
app.callback(invoke_without_command=True)(evaluate)
app.command('bags')(evaluate_bags)
app.command('sequences')(evaluate_sequences)
