"""The base of everything that can be set: names and ranges are checked, and refusals readable."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Settings(BaseModel):
    """Base of all settings: unknown names are refused, and instances do not change.

    Every field carries its description and range, so that ``--help``, ``ros2 param describe`` and
    the documentation say the same.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)


def describe_validation_error(error: ValidationError) -> str:
    """Return a pydantic error as one sentence that names the fields."""
    parts = []
    for item in error.errors():
        where = '.'.join(str(part) for part in item['loc']) or 'value'
        found = '' if isinstance(item.get('input'), dict) else f' (found {item.get("input")!r})'
        parts.append(f'{where}: {item["msg"]}{found}')
    return '; '.join(parts)
