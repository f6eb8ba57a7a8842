"""The base class of all settings: checks names and ranges, with readable errors."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Settings(BaseModel):
    """Base of all settings: unknown names are rejected, and instances are immutable.

    Every field carries its description and range, so that ``--help``, ``ros2 param describe`` and
    the documentation say the same.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)


def describe_validation_error(error: ValidationError, section: str = '') -> str:
    """Return a pydantic error as one sentence that names the fields.

    Args:
        error: what pydantic found.
        section: where the fields are, such as ``matching``.
    """
    parts = []
    for item in error.errors():
        where = '.'.join(str(part) for part in (*filter(None, [section]), *item['loc']))
        found = '' if isinstance(item.get('input'), dict) else f' (found {item.get("input")!r})'
        # What a check of ours says is a sentence already; it may be about several fields.
        text = str(item['ctx']['error']) if item['type'] == 'value_error' else item['msg']
        parts.append(f'{where}: {text}{found}' if where else f'{text}{found}')
    return '; '.join(parts)
