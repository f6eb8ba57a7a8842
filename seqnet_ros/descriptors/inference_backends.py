"""Inference backends of a trunk: torch, or OpenVINO if ``openvino`` is installed."""

import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.descriptors.vision_transformer import VisionTransformer

Trunk = Callable[[Tensor], Tensor]
"""Normalized images ``[N, 3, H, W]`` to maps ``[N, C, h, w]``."""


def ready_for_inference(trunk: nn.Module) -> nn.Module:
    """Return the trunk in evaluation mode with everything computed that no image changes."""
    if isinstance(trunk, VisionTransformer):
        return trunk.eval().fix_positions()
    return fold_batch_norms(trunk)


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
        openvino = import_openvino()
        shape = 1, 3, image.height, image.width
        model = openvino.convert_model(torch.export.export(trunk, (torch.zeros(shape),)))
        model.reshape(shape)
        self._compiled = compile_openvino(model)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 maps ``[N, C, h, w]`` of images ``[N, 3, H, W]``."""
        arrays = images.contiguous().numpy()
        return torch.cat([torch.from_numpy(self._compiled(array[None])[0]) for array in arrays])


def compile_openvino(model: Any, precise: bool = False) -> Any:
    """Compile a model for the CPU: in bfloat16 where the CPU computes it, else in float32.

    Args:
        model: what OpenVINO converted or read.
        precise: use float32 everywhere, for parts that leave the range of less.
    """
    core = import_openvino().Core()
    precise = precise or 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return core.compile_model(model, 'CPU', {
        'INFERENCE_PRECISION_HINT': 'f32' if precise else 'bf16',
        'INFERENCE_NUM_THREADS': torch.get_num_threads(), 'PERFORMANCE_HINT': 'LATENCY'})


def import_openvino() -> Any:
    """Return the package openvino, which must be installed."""
    # Without this, importing and converting send usage data to the developers of OpenVINO.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    import openvino

    return openvino
