"""What the commands that prepare data say about images they cannot use."""

import logging

from seqnet_ros.core.errors import InputError

_logger = logging.getLogger(__name__)


def warn_left_out(part: str, what: str, count: int, first: str) -> None:
    """Say how many of something were left out, and what is wrong with the first."""
    if count:
        _logger.warning('%s: %d %s left out, such as: %s', part, count, what, first)


def require_images(images: int, what: str, lost: str) -> None:
    """Check that there is any image that can be used.

    Raises:
        InputError: there is none.
    """
    if not images:
        raise InputError(f'no image of {what} can be used: {lost}')
