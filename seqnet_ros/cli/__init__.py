"""The command ``seqnet_ros``: maps, offline localizing, descriptors and bags."""

import sys

from seqnet_ros.cli.interrupts import end_when_interrupted

try:
    with end_when_interrupted():
        import seqnet_ros.pydantic_version  # noqa: F401
except ImportError as error:
    sys.exit(f'Error: {error}')
