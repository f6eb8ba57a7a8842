"""``seqnet_ros models``: what models there are, and new ones from training runs."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields, print_table

app = typer.Typer(no_args_is_help=True, help='List models, and make them of training runs.')


@app.command('list')
def list_models() -> None:
    """List the models, the length of their descriptors and whether their weights are here."""
    from seqnet_ros import place_model

    print_table(
        ('name', 'dim', 'weights', 'description'),
        [(model.name, str(model.dim), 'here' if model.weights_available else 'missing',
          model.description) for model in place_model.list_models()])


@app.command()
def create(
    run: Annotated[Path, typer.Option(
        '--from', help='Folder of a SeqNet training run, or one of its checkpoints.',
        show_default=False)],
    frame_model: Annotated[str, typer.Option(
        help='Model whose frame descriptors it was trained on: a name or a YAML file.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='The .yaml file to write; the weights are put beside it.', show_default=False)],
    best: Annotated[bool, typer.Option(
        '--best', help='Take the best checkpoint of the run, not the latest.')] = False,
) -> None:
    """Make a model of a trained SeqNet, ready to build maps and to localize with."""
    from seqnet_ros.training.model_files import create_model
    from seqnet_ros.training.seqnet_run import load_run

    trained = load_run(run, 'best' if best else 'latest')
    config = create_model(trained, frame_model, output)
    print_fields({
        'model': output, 'weights': output.with_name(str(config.sequence.weights.path)),
        'sequence': f'{config.sequence.length} frames, kernel {config.sequence.kernel}',
        'descriptors': f'{trained.in_dim} per frame, {trained.out_dim} per sequence'})
