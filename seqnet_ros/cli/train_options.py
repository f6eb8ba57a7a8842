"""Options that the training commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

MOST_WORKERS = 8

RunFolder = Annotated[Path, typer.Option(
    help='Folder of the run, new or empty.', show_default=False)]
Recipe = Annotated[Path | None, typer.Option(
    help='YAML file with settings, such as those in config/train/.', show_default=False)]
Resume = Annotated[bool, typer.Option(
    '--resume', help='Continue the run in --output as if it had not been stopped.')]
Precision = Annotated[str, typer.Option(
    help="'32'; on a GPU also '16' or 'bf16', mixed with 32 bits.")]
SeqLength = Annotated[int | None, typer.Option(
    '--seq-length', '-L', help='Frames per sequence.', show_default='5')]

# Trainings on images.
FrameModel = Annotated[str | None, typer.Option(
    help='Model whose network is trained, starting from its weights: a name from `seqnet_ros '
         'models list` or a YAML file.', show_default=False)]
Workers = Annotated[int | None, typer.Option(
    min=0, help='Threads that read images.',
    show_default=f'one per processor, at most {MOST_WORKERS}')]
Epochs = Annotated[int | None, typer.Option(
    help='Epochs; each trains one group of classes.', show_default="the recipe's")]


def validation_like(option: str) -> Any:
    """Return the typer option of a validation folder; ``option`` names the training folder."""
    return typer.Option(help=f'Folder like {option} whose val split selects the best weights.',
                        show_default=f'the folder of {option}')
