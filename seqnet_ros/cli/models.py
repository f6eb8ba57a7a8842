"""``seqnet_ros models``: what models there are."""

import typer

from seqnet_ros.cli.console import print_table

app = typer.Typer(no_args_is_help=True, help='The models that can be named.')


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own, although it is the only one."""


@app.command('list')
def list_models() -> None:
    """List the models, the length of their descriptors and whether their weights are here."""
    from seqnet_ros import place_model

    print_table(
        ('name', 'dim', 'weights', 'description'),
        [(model.name, str(model.dim), 'here' if model.weights_available else 'missing',
          model.description) for model in place_model.list_models()])
