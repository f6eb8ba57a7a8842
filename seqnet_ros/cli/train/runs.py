"""Common parts of the training commands: recipes, settings, run records."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import AfterValidator, Field, ValidationError

from seqnet_ros.cli.settings import assigned_values
from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.documents import read_yaml
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_text, require_writable

AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
"""A path of a record, valid in every working directory."""


class TrainingRecord(Settings):
    """Options of a training; ``--resume`` restores them in any working directory."""

    precision: str = '32'
    settings: dict[str, Any] = Field(default_factory=dict)


Record = TypeVar('Record', bound=TrainingRecord)


def collect_training_settings(recipe: Path | None, assignments: list[str] | None,
                              given: dict[str, Any]) -> dict[str, Any]:
    """Merge the settings of a recipe, of ``--set`` and of options; the later ones take precedence.

    Args:
        recipe: YAML file, or None.
        assignments: texts ``name=value``.
        given: values by name, None where an option was not given.

    Raises:
        InputError: the recipe cannot be read, or a text is invalid.
    """
    values = {} if recipe is None else _read_recipe(recipe)
    values.update(assigned_values(assignments))
    values.update({name: value for name, value in given.items() if value is not None})
    return values


def _read_recipe(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f'recipe {path} holds a {type(values).__name__}, expected settings')
    return values


def require_new(output: Path) -> None:
    """Check that a run can begin in a folder.

    Raises:
        InputError: the folder exists and is not empty, or it is read-only.
    """
    if not is_first_process():
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f'{output} exists, expected a new or empty folder, or --resume')
    require_writable(output)


def is_first_process() -> bool:
    """Return whether this process, among those started by torchrun, writes the files."""
    return os.environ.get('RANK', '0') == '0'


def resumed_record(kind: type[Record], ctx: typer.Context, output: Path, epochs: int | None,
                   changeable: tuple[str, ...]) -> Record:
    """Read the options that a run was started with.

    Args:
        kind: of the record.
        ctx: the command.
        output: folder of the run.
        epochs: number of epochs to train instead; None keeps it.
        changeable: names of the options that may be given with ``--resume``.

    Raises:
        InputError: another option was given, or no training was started in this folder.
    """
    from seqnet_ros.training.common.run_record import RECORD

    given = [name for name in ctx.params if name not in changeable
             and getattr(ctx.get_parameter_source(name), 'name', '') == 'COMMANDLINE']
    if given:
        flags = [f'--{name}' for name in changeable if name != 'resume']
        raise InputError(f'--{given[0].replace("_", "-")} was given with --resume, expected only '
                         f'{", ".join(flags[:-1])} and {flags[-1]}: the other options are those of '
                         'the run')
    path = output / RECORD
    try:
        record = kind.model_validate_json(read_text(path))
    except InputError as error:
        raise InputError(f'{error}, expected a run that was started here') from error
    except ValidationError as error:
        raise InputError(f'{path}: {describe_validation_error(error)}') from error
    if epochs is None:
        return record
    return record.model_copy(update={'settings': {**record.settings, 'epochs': epochs}})


def missing_training_package(error: ModuleNotFoundError) -> InputError:
    """Say which package a training needs."""
    return InputError(f'training needs the package {error.name}: run pip install '
                      "'seqnet_ros[train]'")
