"""Settings of the engine on the command line: their help and ``--set``."""

from collections.abc import Mapping
from typing import Any, TypeVar

import typer
from pydantic import ValidationError

from seqnet_ros.config.engine import setting_fields
from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.documents import parse_yaml
from seqnet_ros.core.errors import InputError, quoted

Section = TypeVar('Section', bound=Settings)


def setting_option(name: str, *flags: str, **keywords: Any) -> Any:
    """Return a typer option for a setting, with the description of its field as help.

    The option's own default is None: the value of the model or of the map applies.
    """
    field = setting_fields()[name]
    return typer.Option(*flags, help=field.description,
                        show_default=f"the model's, usually {_show(field.default)}", **keywords)


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def collect_settings(assignments: list[str] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``section.field=value`` texts with options; an option that was given counts.

    Args:
        assignments: texts; values are YAML scalars.
        options: values by dotted name, None where an option was not given.

    Raises:
        InputError: a text has no ``=``, its value is not a scalar, or a spacing is invalid.
    """
    values = {**assigned_values(assignments),
              **{name: value for name, value in options.items() if value is not None}}
    _check_spacing(values.get('keyframes.every', 'auto'))
    return values


def take_section(values: dict[str, Any], section: str, kind: type[Section],
                 options: Mapping[str, Any] | None = None) -> Section:
    """Take the settings of a section out of others.

    Args:
        values: by dotted name; those of the section are removed.
        section: what their names begin with.
        kind: what they are settings of.
        options: values by name of the field, which count before those.

    Raises:
        InputError: one is unknown or out of range.
    """
    names = [name for name in values if name.startswith(f'{section}.')]
    found = {name.removeprefix(f'{section}.'): values.pop(name) for name in names}
    try:
        return kind.model_validate({**found, **(options or {})})
    except ValidationError as error:
        raise InputError(f'settings of {section}: {describe_validation_error(error)}') from error


def assigned_values(assignments: list[str] | None) -> dict[str, Any]:
    """Read ``name=value`` texts; values are YAML scalars.

    Raises:
        InputError: a text has no ``=``, or its value is not a scalar.
    """
    values = {}
    for text in assignments or []:
        name, equals, value = text.partition('=')
        if not equals or not name.strip():
            raise InputError(f'--set {quoted(text)} is invalid, expected a setting and its value '
                             "such as 'matching.top_k=50'")
        values[name.strip()] = _scalar(value, text)
    return values


def _check_spacing(every: Any) -> None:
    """Check a spacing, with a clearer message than that of its field's pattern."""
    from seqnet_ros.sequences.keyframes import Spacing

    if every != 'auto':
        Spacing.parse(str(every))


def _scalar(value: str, text: str) -> Any:
    try:
        parsed = parse_yaml(value, text)
    except InputError:
        parsed = ()
    if isinstance(parsed, (bool, int, float, str)):
        return parsed
    raise InputError(f'--set {quoted(text)} has no single value, expected a number, true, false '
                     'or text')
