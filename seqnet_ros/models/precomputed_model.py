"""Models of descriptors that were computed elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from seqnet_ros.config.preset import Preset, parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.files import require_file
from seqnet_ros.descriptors.precomputed import PrecomputedDescriber
from seqnet_ros.models.place_model import PlaceModel

_NAME = 'precomputed'


def precomputed_preset(path: Path) -> Preset:
    """Return the model of descriptors in an ``.npy`` file ``[N, D]`` whose model is not known.

    Raises:
        InputError: the file cannot be read, or has another shape.
    """
    require_file(path)
    try:
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f'{path} cannot be read as an array (.npy): {error}') from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or not array.shape[1]:
        raise InputError(f'{path} holds no descriptors, expected an array [N, D]')
    return parse_preset({
        'name': _NAME, 'description': 'Descriptors that were computed elsewhere.',
        'frame': {'kind': 'precomputed', 'out_dim': array.shape[1]}}, str(path))


def with_precomputed(model: PlaceModel) -> PlaceModel:
    """Return a model that takes its own descriptors, computed elsewhere, in the place of images.

    Raises:
        ModelError: the model describes several cameras as one place, or checks the geometry of
            images.
    """
    if model.engine.geometry is not None:
        raise ModelError(f'model {model.config.name} checks the geometry of images, expected one '
                         'that does not for descriptors that were computed elsewhere')
    if model.config.cameras > 1:
        raise ModelError(f'model {model.config.name} has {model.config.cameras} cameras, expected '
                         'one for descriptors that were computed elsewhere')
    return replace(model, describer=PrecomputedDescriber(
        model.describer.dim, normalizes=model.config.normalises_frames))
