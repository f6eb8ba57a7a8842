"""Settings of the engine on the command line: their help, ``--set`` and how they are applied."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from seqnet_ros.config import ModelConfig, parse_model_config
from seqnet_ros.errors import InputError

# What may differ between mapping and localising. All else decides what a descriptor means and
# belongs into a model file.
_SECTIONS = ('keyframes', 'matching', 'acceptance', 'geometry')
_SINGLE = ('sequence.length',)


def setting_fields() -> dict[str, FieldInfo]:
    """Return the settings that a command can change, by dotted name."""
    return dict(_setting_fields())


def _setting_fields() -> Iterator[tuple[str, FieldInfo]]:
    for name in _SINGLE:
        section, _, field = name.partition('.')
        yield name, _fields_of(section)[field]
    for section in _SECTIONS:
        for field, info in _fields_of(section).items():
            yield f'{section}.{field}', info


def _fields_of(section: str) -> dict[str, FieldInfo]:
    annotation = ModelConfig.model_fields[section].annotation
    model = next(iter(get_args(annotation)), annotation)  # that of `X | None` is X
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model.model_fields


def setting_option(name: str, *flags: str, **keywords: Any) -> Any:
    """Return a typer option for a setting, with the description of its field as help.

    The option's own default is None: the value of the model or of the map then holds.
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
        InputError: a text has no ``=``, its value is not a scalar, or a spacing is none.
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
            raise InputError(f'--set {text!r} is not understood, expected a setting and its value '
                             "such as 'matching.top_k=50'")
        values[name.strip()] = _scalar(value, text)
    return values


def _check_spacing(every: Any) -> None:
    """Refuse a bad spacing with a sentence; its field's pattern would only show a pattern."""
    from seqnet_ros.sequences.keyframes import Spacing

    if every != 'auto':
        Spacing.parse(str(every))


def _scalar(value: str, text: str) -> Any:
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = ()
    if isinstance(parsed, (bool, int, float, str)):
        return parsed
    raise InputError(f'--set {text!r} has no single value, expected a number, true, false or text')


def apply_settings(config: ModelConfig, values: Mapping[str, Any]) -> ModelConfig:
    """Return a model's configuration with some settings replaced.

    A setting of `geometry` turns the geometric check on where the model has none.

    Raises:
        InputError: a setting is unknown.
        ModelError: a value is out of range.
    """
    known = setting_fields()
    document = config.model_dump()
    for name, value in values.items():
        if name not in known:
            raise InputError(_unknown(name, list(known)))
        section, _, field = name.partition('.')
        # A spacing in images is text in the model file and looks like a number here.
        text = known[name].annotation is str
        document.setdefault(section, {})[field] = str(value) if text else value
    return parse_model_config(document, 'settings')


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    expected = close[0] if close else f'one of: {", ".join(known)}'
    return f'there is no setting {name!r}, expected {expected}'
