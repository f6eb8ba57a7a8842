"""The speed of models on this machine: measured, and remembered in the cache."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqnet_ros.config.model import ModelConfig, WeightsConfig
from seqnet_ros.core.files import whole_file
from seqnet_ros.descriptors.describer import build_camera_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.download import cache_dir
from seqnet_ros.models.model_weights import is_here, needs_fitting
from seqnet_ros.models.place_model import config_fingerprint, load_preset

_CAMERA = 480, 640
_WARM_UP = 2
_FEWEST = 3
_MOST = 200


@dataclass(frozen=True)
class Speed:
    """How long one image takes.

    Attributes:
        milliseconds: median over the images.
        device: where the network ran.
        threads: number of threads of torch.
    """

    milliseconds: float
    device: str
    threads: int


def measure_speed(name: str, device: str = 'auto', seconds: float = 2.0,
                  clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Describe images of 640 x 480 pixels one by one, and remember how long one takes.

    A model without its weights runs with random ones, which take as long.

    Args:
        name: name or file of the model.
        device: 'auto', 'cuda', 'cpu' or 'openvino'.
        seconds: how long to measure; at least three images are described.
        clock: time in seconds.

    Raises:
        ModelError: there is no such model, or it cannot be built.
    """
    preset, folder = load_preset(name)
    config = preset.model
    missing = needs_fitting(config) or not is_here(config.weights, folder)
    if missing and config.frame.takes_weights and not config.frame.is_file:
        config = config.model_copy(update={'weights': WeightsConfig(random=True)})
    chosen = select_device(device)
    describer = build_camera_describer(config, chosen, folder)
    image = np.random.default_rng(0).integers(0, 256, (*_CAMERA, 3), np.uint8)
    for _ in range(_WARM_UP):
        describer.describe([image])
    times: list[float] = []
    while len(times) < _FEWEST or (sum(times) < seconds and len(times) < _MOST):
        start = clock()
        describer.describe([image])
        times.append(clock() - start)
    where = 'openvino' if chosen.openvino else chosen.device.type
    speed = Speed(round(1000 * statistics.median(times), 2), where, torch.get_num_threads())
    _remember(preset.model, speed)
    return speed


def known_speeds(config: ModelConfig) -> list[Speed]:
    """Return the speeds of a model that were measured on this machine, one for each device."""
    found = _read().get(_key(config), {})
    return [Speed(entry['milliseconds'], device, entry['threads'])
            for device, entry in sorted(found.items())]


def _key(config: ModelConfig) -> str:
    """Return what identifies the computation; another image size is another one."""
    return config_fingerprint(config, '')


def _remember(config: ModelConfig, speed: Speed) -> None:
    known = _read()
    known.setdefault(_key(config), {})[speed.device] = {
        'model': config.name, 'milliseconds': speed.milliseconds, 'threads': speed.threads}
    with whole_file(_file()) as file:
        file.write(json.dumps({'machine': platform.node(), 'speeds': known}, indent=1).encode())


def _read() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what is remembered of this machine; a cache may be shared or damaged."""
    try:
        content = json.loads(_file().read_text(encoding='utf-8'))
        speeds = content['speeds'] if content['machine'] == platform.node() else {}
        return {key: {device: entry for device, entry in found.items()
                      if isinstance(entry['milliseconds'], float)
                      and isinstance(entry['threads'], int)}
                for key, found in speeds.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _file() -> Path:
    return cache_dir().parent / 'speeds.json'
