"""Visual place recognition for ROS 2: SeqNet, SeqNetVLAD and JIST from a camera to a place."""

from pkgutil import extend_path
from typing import Any

# The generated message modules (seqnet_ros.msg, seqnet_ros.srv) live in the colcon install
# space; this lets a source tree that comes first on the path find them.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    """Import what the package offers at its top when it is used: importing it stays quick."""
    if name == 'register_descriptor':
        from seqnet_ros.descriptors.registry import register_descriptor

        return register_descriptor
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
