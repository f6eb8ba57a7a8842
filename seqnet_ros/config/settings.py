"""The base class of all settings: checks names and ranges, with readable errors."""

from pydantic import BaseModel, ConfigDict, ValidationError

from seqnet_ros.core.errors import quoted, shortened

_MOST_NAMED = 10


class Settings(BaseModel):
    """Base of all settings: unknown names are rejected, and instances are immutable.

    Every field carries its description and range, so that ``--help``, ``ros2 param describe`` and
    the documentation say the same.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)


def describe_validation_error(error: ValidationError, section: str = '') -> str:
    """Return a pydantic error as one sentence that names the first fields.

    Args:
        error: what pydantic found.
        section: where the fields are, such as ``matching``.
    """
    parts = []
    for item in error.errors()[:_MOST_NAMED]:
        where = shortened('.'.join(str(part) for part in (*filter(None, [section]), *item['loc'])))
        found = ('' if isinstance(item.get('input'), dict)
                 else f' (found {quoted(item.get("input"))})')
        # What a check of ours says is a sentence already; it may be about several fields.
        text = str(item['ctx']['error']) if item['type'] == 'value_error' else item['msg']
        parts.append(f'{where}: {text}{found}' if where else f'{text}{found}')
    more = error.error_count() - len(parts)
    return '; '.join(parts) + (f' and {more} more' if more else '')
