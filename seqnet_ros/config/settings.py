"""The base class of all settings: checks names and ranges, with readable errors."""

from pydantic import BaseModel, ConfigDict, ValidationError

from seqnet_ros.core.errors import shortened

_MOST_NAMED = 10


class Settings(BaseModel):
    """Base of all settings: unknown names are rejected, and instances are immutable.

    Every field carries its description and range, so that ``--help``, ``ros2 param describe`` and
    the documentation say the same.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)


def describe_validation_error(error: ValidationError) -> str:
    """Return a pydantic error as one sentence that names the first fields."""
    parts = []
    for item in error.errors()[:_MOST_NAMED]:
        where = shortened('.'.join(str(part) for part in item['loc']) or 'value')
        found = ('' if isinstance(item.get('input'), dict)
                 else f' (found {shortened(repr(item.get("input")))})')
        parts.append(f'{where}: {item["msg"]}{found}')
    more = error.error_count() - len(parts)
    return '; '.join(parts) + (f' and {more} more' if more else '')
