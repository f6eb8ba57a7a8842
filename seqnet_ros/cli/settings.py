"""Settings of the engine on the command line: their help and ``--set``."""

from collections.abc import Mapping
from typing import Any

import typer

from seqnet_ros.config.engine import setting_fields
from seqnet_ros.core.documents import parse_yaml
from seqnet_ros.core.errors import InputError, quoted


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
