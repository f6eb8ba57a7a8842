"""The Fast DDS profile that lets large raw images pass through shared memory."""

import os
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
"""Environment variables that name the profile: since Kilted, and up to Jazzy."""
_EARLIER = ('humble', 'iron', 'jazzy')


def profile_variable() -> str:
    """Return the environment variable that names the profile in this distribution.

    Only one may be set: Fast DDS would read the profile twice and refuse it.
    """
    return _VARIABLES[os.environ.get('ROS_DISTRO') in _EARLIER]


def profile_path() -> Path:
    """Return the profile that comes with the package."""
    try:
        share = Path(get_package_share_directory('seqnet_ros'))
    except PackageNotFoundError:  # run from the sources
        share = Path(__file__).resolve().parents[2]
    return share / 'config' / 'fastdds.xml'


def driver_line() -> str:
    """Return the line for the shell in which the camera driver is started."""
    return f'export {profile_variable()}={profile_path()}'


def profile_environment(wanted: str = 'auto') -> dict[str, str]:
    """Return the environment of a node that uses a profile.

    Args:
        wanted: path of a profile, 'none', or 'auto' for the package's, unless the environment
            names another one.
    """
    if wanted == 'none' or (wanted == 'auto' and any(map(os.environ.get, _VARIABLES))):
        return {}
    path = profile_path() if wanted == 'auto' else Path(wanted)
    return {profile_variable(): str(path)}
