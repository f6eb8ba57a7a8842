"""Runs a frame network with its weights, as fast as the device can."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seqnet_ros.config.model import ImageConfig, ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.device import Device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.image_checks import check_images, resize_antialiased
from seqnet_ros.descriptors.inference_backends import OpenVinoTrunk, Trunk, ready_for_inference
from seqnet_ros.descriptors.network import GemConfig, NetworkConfig, VladConfig
from seqnet_ros.descriptors.weights import (
    TRUNK_LAYOUTS,
    ModelTensors,
    digest_tensors,
    find_weights,
    load_strictly,
    read_tensors,
    repeatable_random,
    translate,
    without_stages_beyond,
)

_CPU_BATCH = 8
_CUDA_BATCH = 32

_logger = logging.getLogger(__name__)


class NetworkDescriber:
    """Describes images with a `FrameNetwork`, in batches, the trunk as fast as the device can.

    Where a GPU has too little memory, batches become smaller; where one image is too much, the
    network moves to the CPU. Both are logged once.

    Args:
        network: the network with its weights, on the CPU.
        image: size and normalization of its input.
        device: where to run it.
        name: human-readable name.
        sequence_tensors: tensors that came with the weights for the sequence aggregator.
    """

    def __init__(self, network: FrameNetwork, image: ImageConfig, device: Device, name: str,
                 sequence_tensors: Mapping[str, Tensor]) -> None:
        self.name = name
        self.dim = network.dim
        self.weights_digest = digest_tensors(network.state_dict())
        self.sequence_tensors = sequence_tensors
        self._image = image
        self._batch = _CUDA_BATCH if device.device.type == 'cuda' else _CPU_BATCH
        self._ran_short = False
        network = network.eval().requires_grad_(False)
        self._aggregation = network.aggregation
        trunk = ready_for_inference(network.backbone)
        self._trunk: Trunk = OpenVinoTrunk(trunk, image) if device.openvino else trunk
        if not self._fits_on(device.device, torch.float16 if device.half else torch.float32):
            self._leave_gpu()

    def _fits_on(self, device: torch.device, dtype: torch.dtype) -> bool:
        try:
            self._move_to(device, dtype)
        except torch.cuda.OutOfMemoryError:
            return False
        return True

    def _move_to(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._mean = torch.tensor(self._image.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self._image.std, device=device).view(1, 3, 1, 1)
        self._aggregation = self._aggregation.to(device).to(memory_format=torch.channels_last)
        if isinstance(self._trunk, nn.Module):
            self._trunk = self._trunk.to(device, dtype).to(memory_format=torch.channels_last)

    def _leave_gpu(self) -> None:
        _logger.warning('the GPU has too little memory for %s: it runs on the CPU from now on',
                        self.name)
        self._batch = _CPU_BATCH
        self._move_to(torch.device('cpu'), torch.float32)
        torch.cuda.empty_cache()

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Describe RGB uint8 ``[H, W, 3]`` images, each of any size.

        Returns:
            float32 ``[N, dim]``, rows of unit length; VLAD sums have any length.

        Raises:
            InputError: there is no image, or one is not RGB uint8 ``[H, W, 3]``.
        """
        check_images(images)
        vectors: list[np.ndarray] = []
        described = 0
        while described < len(images):
            batch = images[described:described + self._batch]
            found = self._describe_if_it_fits(batch)
            if found is None:
                self._make_room(len(batch))
            else:
                vectors.append(found)
                described += len(batch)
        return np.concatenate(vectors)

    def _describe_if_it_fits(self, images: Sequence[np.ndarray]) -> np.ndarray | None:
        """Return descriptors, or None where the GPU has too little memory.

        What the error refers to keeps memory in use: it is gone when this method returns.
        """
        try:
            return self._describe_batch(images)
        except torch.cuda.OutOfMemoryError:
            return None

    def _make_room(self, images: int) -> None:
        """Go on with smaller batches than one that was too large, or on the CPU."""
        if images == 1:
            self._leave_gpu()
            return
        self._batch = images // 2
        torch.cuda.empty_cache()
        if not self._ran_short:
            _logger.warning('the GPU has too little memory for %d images at once: smaller batches '
                            'are used', images)
        self._ran_short = True

    @torch.inference_mode()
    def maps(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the trunk's maps of RGB uint8 ``[H, W, 3]`` images, computed as one batch.

        Returns:
            float32 ``[N, C, height, width]``.

        Raises:
            InputError: there is no image, or one is not RGB uint8 ``[H, W, 3]``.
        """
        check_images(images)
        return self._maps(images).float().contiguous().cpu().numpy()

    @torch.inference_mode()
    def _describe_batch(self, images: Sequence[np.ndarray]) -> np.ndarray:
        # As `FrameNetwork.forward`, with the backend that runs the trunk here.
        return self._aggregation(self._maps(images).float()).cpu().numpy()

    def _maps(self, images: Sequence[np.ndarray]) -> Tensor:
        return self._trunk(self.network_input(images).to(self._dtype))

    def network_input(self, images: Sequence[np.ndarray]) -> Tensor:
        """Return what the network sees of RGB uint8 ``[H, W, 3]`` images, all at once.

        The order of operations is that of torchvision, so that results agree to the last bit.

        Returns:
            Resized and normalized float32 ``[N, 3, height, width]``, channels last in memory.
        """
        size = self._image.height, self._image.width
        pixels = torch.from_numpy(
            np.stack([resize_antialiased(i, *size, self._image.resize) for i in images]))
        batch = pixels.to(self._device).permute(0, 3, 1, 2).float()
        return batch.div_(255).sub_(self._mean).div_(self._std)


def load_network(config: ModelConfig, frame: NetworkConfig, device: Device,
                 base_dir: Path | None) -> NetworkDescriber:
    """Load the describer of a model with its weights; random ones where it allows them.

    Raises:
        ModelError: the weights are missing or do not fit.
    """
    network, sequence = load_frame_network(config, frame, base_dir)
    name = f'{frame.backbone}-{frame.pooling.kind}'
    return NetworkDescriber(network, config.image, device, name, sequence)


def load_frame_network(config: ModelConfig, frame: NetworkConfig, base_dir: Path | None,
                       ) -> tuple[FrameNetwork, Mapping[str, Tensor]]:
    """Load the network of a model, and the tensors that came with it for the aggregator.

    Raises:
        ModelError: the weights are missing or do not fit.
    """
    path = find_weights(config.weights, base_dir)
    if path is None:
        return _random_network(config, frame), {}
    return _trained_network(config, frame, path)


def _trained_network(config: ModelConfig, frame: NetworkConfig,
                     path: Path) -> tuple[FrameNetwork, Mapping[str, Tensor]]:
    with torch.device('meta'):
        network = FrameNetwork(frame, config.image)
    found = translate(read_tensors(path), config.weights.layout)
    if config.weights.layout in TRUNK_LAYOUTS:
        if isinstance(frame.pooling, VladConfig):  # which a trunk alone does not bring
            raise ModelError(f'model {config.name} has no clusters yet, expected a model of your '
                             'own images: make one with `seqnet_ros models fit-vlad`')
        found = _with_untrained_pooling(found, frame, len(network.backbone))
    load_strictly(network, found.frame, str(path))
    return network, found.sequence


def _with_untrained_pooling(found: ModelTensors, frame: NetworkConfig, depth: int) -> ModelTensors:
    """Add GeM's exponent, which needs no training, to the tensors of a classifier."""
    tensors = without_stages_beyond(found.frame, depth)
    if isinstance(frame.pooling, GemConfig):
        tensors['aggregation.1.p'] = torch.full((1,), frame.pooling.p)
    return ModelTensors(tensors, found.sequence)


def _random_network(config: ModelConfig, frame: NetworkConfig) -> FrameNetwork:
    if not config.weights.random:
        raise ModelError(
            f'model {config.name} needs weights: set weights.path, or weights.url and '
            'weights.sha256')
    with repeatable_random():
        return FrameNetwork(frame, config.image)
