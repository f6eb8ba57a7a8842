"""Inference backends of a trunk: torch, or OpenVINO if ``openvino`` is installed."""

import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from seqnet_ros.config.model import ImageConfig

Trunk = Callable[[Tensor], Tensor]
"""Normalized images ``[N, 3, H, W]`` to maps ``[N, C, h, w]``."""


def fold_batch_norms(trunk: nn.Module) -> nn.Module:
    """Return the trunk with its batch norms inside the convolutions before them.

    They are linear once trained, so that nothing changes but the rounding. In all trunks a batch
    norm follows its convolution in the order of the modules; timm's includes the activation.
    """
    folded = copy.deepcopy(trunk).eval()
    for module in list(folded.modules()):
        convolution = ''
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                convolution = name
            elif isinstance(child, nn.BatchNorm2d) and convolution:
                setattr(module, convolution,
                        fuse_conv_bn_eval(getattr(module, convolution), child))
                setattr(module, name, getattr(child, 'act', nn.Identity()))
                convolution = ''
    return folded


class OpenVinoTrunk:
    """Runs a trunk with OpenVINO on the CPU: in bfloat16 where the CPU computes it, else float32.

    Images go through one by one, which is how a camera brings them.

    Args:
        trunk: the trunk with its weights, in evaluation mode, on the CPU.
        image: size of its input.
    """

    def __init__(self, trunk: nn.Module, image: ImageConfig) -> None:
        openvino = _import_openvino()
        shape = 1, 3, image.height, image.width
        model = openvino.convert_model(torch.export.export(trunk, (torch.zeros(shape),)))
        model.reshape(shape)
        core = openvino.Core()
        precise = 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        self._compiled = core.compile_model(model, 'CPU', {
            'INFERENCE_PRECISION_HINT': 'f32' if precise else 'bf16',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(), 'PERFORMANCE_HINT': 'LATENCY'})

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 maps ``[N, C, h, w]`` of images ``[N, 3, H, W]``."""
        arrays = images.contiguous().numpy()
        return torch.cat([torch.from_numpy(self._compiled(array[None])[0]) for array in arrays])


def _import_openvino() -> Any:
    # Without this, importing and converting send usage data to the developers of OpenVINO.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    import openvino

    return openvino
