"""Visual place recognition for ROS 2: SeqNet, SeqNetVLAD and JIST from a camera to a place.

``import seqnet_ros as sr`` offers the functions of ``__all__``, which are imported when they are
used: importing the package is quick and needs no torch.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import Any

# The generated message modules (seqnet_ros.msg, seqnet_ros.srv) live in the colcon install
# space; this lets a source tree that comes first on the path find them.
__path__ = extend_path(__path__, __name__)

__version__ = '0.1.0'

_OFFERED = {
    'load_model': 'seqnet_ros.api',
    'describe': 'seqnet_ros.api',
    'build_map': 'seqnet_ros.api',
    'open_map': 'seqnet_ros.maps.map_reader',
    'Localizer': 'seqnet_ros.localization.localizer',
    'evaluate': 'seqnet_ros.api',
    'register_descriptor': 'seqnet_ros.descriptors.registry',
}
__all__ = list(_OFFERED)


def __getattr__(name: str) -> Any:
    """Import what the package offers at its top when it is used."""
    if name in _OFFERED:
        return getattr(import_module(_OFFERED[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    """Return the names of the module, those imported later too."""
    return sorted({*globals(), *_OFFERED})
