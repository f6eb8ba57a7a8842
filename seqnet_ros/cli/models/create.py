"""``seqnet_ros models create``: a model of a trained SeqNet."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields


def create(
    run: Annotated[Path, typer.Option(
        '--from', help='Folder of a SeqNet training run, or one of its checkpoints.',
        show_default=False)],
    frame_model: Annotated[str, typer.Option(
        help='Model whose frame descriptors it was trained on: a name or a YAML file.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='New .yaml file; the weights are written beside it as .safetensors.',
        show_default=False)],
    match_run: Annotated[Path | None, typer.Option(
        '--match-from', show_default='frame descriptors unchanged',
        help='Run with kernel 1 (S1) whose descriptors are used for sequence matching: '
             'HVPR.')] = None,
    best: Annotated[bool, typer.Option(
        '--best', help='Use the best checkpoint of the runs instead of the latest.')] = False,
) -> None:
    """Make a model of a trained SeqNet, ready to build maps and to localize with.

    With --match-from it searches hierarchically, as HVPR of the SeqNet paper does.
    """
    from seqnet_ros.training.seqnet.model import create_model
    from seqnet_ros.training.seqnet.run import load_run

    trained = load_run(run, 'best' if best else 'latest')
    matching = None if match_run is None else load_run(match_run, 'best' if best else 'latest')
    preset = create_model(trained, frame_model, output, matching)
    config = preset.model
    fields: dict[str, object] = {
        'model': output, 'weights': output.with_name(str(config.sequence.weights.path)),
        'sequence': f'{preset.engine.sequence.length} frames, kernel {config.sequence.kernel}',
        'descriptors': f'{trained.in_dim} per frame, {trained.out_dim} per sequence'}
    if matching is not None and config.projection is not None:
        fields['matching'] = (f'{output.with_name(str(config.projection.weights.path))}, '
                              f'{matching.out_dim} per frame')
    print_fields(fields)
