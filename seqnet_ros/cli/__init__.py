"""The command ``seqnet_ros``: maps, offline localizing, descriptors and bags."""

import sys

try:
    import seqnet_ros.pydantic_version  # noqa: F401
except ImportError as error:
    sys.exit(f'Error: {error}')
