"""The kinds of frame descriptors, each a file of this folder and a line at the end of this file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seqnet_ros.config.model import DESCRIPTORS, Descriptor, FrameConfig, ModelConfig
from seqnet_ros.descriptors.describer import FrameDescriber
from seqnet_ros.descriptors.hog import HogConfig, build_hog
from seqnet_ros.descriptors.network import NetworkConfig, build_network
from seqnet_ros.descriptors.onnx_network import OnnxConfig, build_onnx
from seqnet_ros.descriptors.patchnorm import PatchNormConfig, build_patchnorm
from seqnet_ros.descriptors.precomputed import PrecomputedConfig, build_precomputed
from seqnet_ros.descriptors.python_network import PythonConfig, build_python
from seqnet_ros.descriptors.torchscript_network import TorchScriptConfig, build_torchscript

if TYPE_CHECKING:
    from seqnet_ros.descriptors.device import Device

Build = Callable[[ModelConfig, 'Device', Path | None], FrameDescriber]
"""Makes the describer of a model, given where networks run and where relative paths start."""


def register_descriptor(config: type[FrameConfig], build: Build) -> None:
    """Add a kind of frame descriptor; models name it as `frame.kind`.

    Args:
        config: its settings; their field ``kind`` is a Literal of its name, with that default.
        build: makes the describer of a model whose `frame` is such settings.

    Raises:
        PluginError: there is a descriptor of this name.
    """
    DESCRIPTORS.register(config.model_fields['kind'].default, Descriptor(config, build))


register_descriptor(HogConfig, build_hog)
register_descriptor(PatchNormConfig, build_patchnorm)
register_descriptor(NetworkConfig, build_network)
register_descriptor(OnnxConfig, build_onnx)
register_descriptor(TorchScriptConfig, build_torchscript)
register_descriptor(PythonConfig, build_python)
register_descriptor(PrecomputedConfig, build_precomputed)
