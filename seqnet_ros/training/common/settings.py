"""Settings of trainings, checked."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.errors import InputError

Checked = TypeVar('Checked', bound=Settings)


def parse_settings(kind: type[Checked], values: Mapping[str, Any], origin: str) -> Checked:
    """Check settings.

    Args:
        kind: what they are the settings of.
        values: by name.
        origin: human-readable source.

    Raises:
        InputError: a setting is unknown or out of range; the message names it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(f'{origin}: {describe_validation_error(error)}') from error
