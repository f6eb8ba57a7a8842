"""Shared memory as the transport of raw images."""

import os
from pathlib import Path

_FASTDDS = Path(__file__).with_name('fastdds.xml')


def use_shared_memory() -> None:
    """Let raw images of this size go through shared memory, unless a profile is set already."""
    fastdds = 'FASTRTPS' if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 'FASTDDS'
    os.environ.setdefault(f'{fastdds}_DEFAULT_PROFILES_FILE', str(_FASTDDS))
