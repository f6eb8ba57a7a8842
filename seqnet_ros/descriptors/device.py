"""Device that a network runs on."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from seqnet_ros.core.errors import ModelError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """The device chosen to run networks.

    Attributes:
        device: what torch calls it.
        half: whether trunks run in float16 there.
        why: human-readable reason for the choice.
        openvino: whether OpenVINO runs trunks there.
    """

    device: torch.device
    half: bool
    why: str
    openvino: bool = False


def select_device(requested: str = 'auto') -> Device:
    """Choose 'auto', 'cuda', 'cpu' or 'openvino' and log which and why, in one line.

    Raises:
        ModelError: 'cuda' or 'openvino' was requested and cannot be used, or the request is
            unknown.
    """
    if requested not in ('auto', 'cuda', 'cpu', 'openvino'):
        raise ModelError(
            f"device is {requested!r}, expected 'auto', 'cuda', 'cpu' or 'openvino'")
    chosen = _choose(requested)
    _logger.info('device %s (%s)', chosen.device, chosen.why)
    return chosen


def _choose(requested: str) -> Device:
    if requested == 'cpu':
        return Device(torch.device('cpu'), False, 'cpu was requested')
    if requested == 'openvino':
        if find_spec('openvino') is None:
            raise ModelError("device 'openvino' was requested, but the package openvino is not "
                             "installed; run `pip install openvino`, or use 'auto' or 'cpu'")
        return Device(torch.device('cpu'), False, 'openvino was requested', openvino=True)
    trouble = _cuda_trouble()
    if trouble is None:
        why = f'{torch.cuda.get_device_name()}, float16 trunk'
        return Device(torch.device('cuda'), True, why)
    if requested == 'cuda':
        raise ModelError(f"device 'cuda' was requested, but {trouble}; use 'auto' or 'cpu'")
    return Device(torch.device('cpu'), False, trouble)


def _cuda_trouble() -> str | None:
    """Return why CUDA cannot be used, or None where it works.

    A GPU can be visible and still unusable: its driver too old, or its architecture missing
    from this build of torch. Only running something tells.
    """
    if not torch.cuda.is_available():
        return 'torch sees no usable CUDA GPU'
    try:
        torch.ones(1, device='cuda').add_(1).item()
    except RuntimeError as error:
        return f'the CUDA GPU does not work ({str(error).splitlines()[0]})'
    return None
