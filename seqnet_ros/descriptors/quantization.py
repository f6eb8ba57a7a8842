"""Quantizes an OpenVINO network to int8 with NNCF: convolutions and products, on real images."""

import contextlib
import io
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.own_network import network_input

MOST_IMAGES = 300
"""Images that the ranges of the values are taken from, as many as NNCF takes by default."""


def import_nncf() -> Any:
    """Return the package nncf.

    Raises:
        ModelError: it is not installed.
    """
    # Heavy to import, and needed here only.
    from seqnet_ros.descriptors.inference_backends import import_openvino

    logging.getLogger('torch.utils.cpp_extension').setLevel(logging.ERROR)  # looks for CUDA
    try:
        import_openvino()  # first: it turns off what both would send to their developers
        import nncf
    except ImportError as error:
        raise ModelError(f'a network of int8 needs the package {error.name}, which is not '
                         "installed; run `pip install 'seqnet_ros[int8]'`") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantize(model: Any, images: Sequence[np.ndarray], config: ImageConfig) -> Any:
    """Return an OpenVINO network whose weights and maps are int8; the rest stays float32.

    Args:
        model: what OpenVINO converted, of one input.
        images: RGB uint8 ``[H, W, 3]``, like those that it will describe; they set the ranges.
        config: size and normalization of its input.

    Raises:
        ModelError: nncf is not installed.
    """
    nncf = import_nncf()
    samples = nncf.Dataset(images, lambda image: network_input(image, config))
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(model, samples, subset_size=len(images))
