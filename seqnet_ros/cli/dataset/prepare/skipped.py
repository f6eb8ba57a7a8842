"""Messages about unusable images, for the commands that prepare data."""

import logging

from seqnet_ros.core.errors import InputError

_logger = logging.getLogger(__name__)


def warn_left_out(part: str, what: str, count: int, first: str) -> None:
    """Warn about skipped items, with their count and the first error."""
    if count:
        _logger.warning('%s: skipped %d %s, such as: %s', part, count, what, first)


def require_images(images: int, what: str, lost: str) -> None:
    """Check that at least one image is usable.

    Raises:
        InputError: there is none.
    """
    if not images:
        raise InputError(f'no image of {what} is usable: {lost}')
