"""From images to frame descriptors: the interface of all describers, of one camera or several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from seqnet_ros.config.model import DESCRIPTORS, ModelConfig
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from seqnet_ros.descriptors.device import Device


class FrameDescriber(Protocol):
    """Turns images into vectors.

    Attributes:
        name: human-readable name.
        dim: length D of a vector.
        weights_digest: hash of the weight tensors; empty where there are none.
        sequence_tensors: tensors of the weights file that belong to the sequence aggregator.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def dim(self) -> int: ...  # noqa: D102

    @property
    def weights_digest(self) -> str: ...  # noqa: D102

    @property
    def sequence_tensors(self) -> 'Mapping[str, Tensor]': ...  # noqa: D102

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Describe RGB uint8 ``[H, W, 3]`` images, each of any size.

        Returns:
            float32 ``[N, dim]``, rows of unit length; VLAD sums have any length.

        Raises:
            InputError: there is no image, or one is not RGB uint8 ``[H, W, 3]``.
        """
        ...


class CamerasDescriber:
    """Describes what several cameras see at one moment as one place.

    The descriptors of the cameras' images, one after the other, of unit length together: distances
    are the root mean square of those of the single cameras.

    Args:
        describer: describes the images of each camera.
        cameras: how many there are.
    """

    def __init__(self, describer: FrameDescriber, cameras: int) -> None:
        self._describer = describer
        self._cameras = cameras
        self.name = f'{describer.name} of {cameras} cameras'
        self.dim = cameras * describer.dim
        self.weights_digest = describer.weights_digest
        self.sequence_tensors = describer.sequence_tensors

    def describe(self, views: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Describe views, each an RGB uint8 ``[H, W, 3]`` image of every camera.

        Returns:
            float32 ``[N, dim]``, rows of unit length.

        Raises:
            InputError: there is no view, one has another number of images, or an image is not RGB
                uint8 ``[H, W, 3]``.
        """
        for view in views:
            if isinstance(view, np.ndarray) or len(view) != self._cameras:
                found = 'a single image' if isinstance(view, np.ndarray) else f'{len(view)} images'
                raise InputError(f'found {found}, expected one of each of the {self._cameras} '
                                 'cameras of the model')
        vectors = self._describer.describe([image for view in views for image in view])
        return vectors.reshape(len(views), self.dim) / np.float32(np.sqrt(self._cameras))


def build_describer(config: ModelConfig, device: 'Device',
                    base_dir: Path | None = None) -> FrameDescriber:
    """Build the describer of a model, with its weights; for several cameras if configured.

    Args and errors are those of `build_camera_describer`.
    """
    describer = build_camera_describer(config, device, base_dir)
    if config.cameras == 1:
        return describer
    # Views take the place of images wherever this describer is used.
    return cast(FrameDescriber, CamerasDescriber(describer, config.cameras))


def build_camera_describer(config: ModelConfig, device: 'Device',
                           base_dir: Path | None = None) -> FrameDescriber:
    """Build what describes the images of one camera, with its weights.

    Args:
        config: the model.
        device: where networks run; HOG and patch normalization always run on the CPU.
        base_dir: directory of the model file, where relative weight paths start.

    Raises:
        ModelError: the weights are missing or do not fit, or the settings contradict each other.
    """
    describer = DESCRIPTORS.get(config.frame.kind).build(config, device, base_dir)
    if config.reduction is None:
        return describer
    # By name: what shortens describers is one itself, so it cannot be imported from here.
    shorten = resolve_name('seqnet_ros.descriptors.reduction:shorten')
    return cast(FrameDescriber, shorten(describer, config, config.reduction, base_dir))


def frame_dim(config: ModelConfig) -> int:
    """Return the length of a model's frame descriptors, without its weights.

    Raises:
        ModelError: the settings contradict each other.
    """
    of_camera = config.reduction.dim if config.reduction else config.frame.dim(config.image)
    return config.cameras * of_camera
