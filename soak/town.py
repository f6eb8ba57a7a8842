"""Two small towns with a map and a drive each, rendered once and kept in memory."""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.datasets.town import OVERCAST, Camera, Drive, Town
from seqnet_ros.maps.storage import open_map, save_map
from seqnet_ros.matching.mapper import Mapper
from seqnet_ros.place_model import PlaceModel

_CAMERA = Camera(width=160, height=120)
_TOWNS = (7, 8)
_SPEED, _RATE = 6.0, 6.0
STEP_NS = round(1e9 / _RATE)
"""Time between two images of a drive, nanoseconds."""


@dataclass(frozen=True)
class Lap:
    """A drive: RGB images uint8 ``[H, W, 3]`` and poses ``[7]``, one metre apart."""

    images: list[np.ndarray]
    poses: list[np.ndarray]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def messages(self) -> list[Any]:
        """Return the images as messages, to be stamped when they are sent."""
        from sensor_msgs.msg import Image

        made = []
        for image in self.images:
            height, width, _ = image.shape
            message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
            message.header.frame_id = 'camera'
            message.data = array('B', image.tobytes())
            made.append(message)
        return made


def render(town: int, seed: int, length_m: float, lateral_offset: float = 0.0) -> Lap:
    """Drive through a town."""
    frames = list(Drive(Town(seed=town), OVERCAST, _CAMERA, speed=_SPEED, rate=_RATE, seed=seed,
                        length=length_m, lateral_offset=lateral_offset))
    return Lap([frame.read() for frame in frames], [frame.pose for frame in frames])


def second_laps(length_m: float) -> list[Lap]:
    """Drive through both towns again, a little to the side."""
    return [render(town, 2, length_m, lateral_offset=0.3) for town in _TOWNS]


def make_maps(model: PlaceModel, folder: Path, length_m: float) -> list[Path]:
    """Map both towns; return the directories of the maps."""
    keyframes = model.config.keyframes.model_copy(update={'every': '1'})
    sequence = model.config.sequence.model_copy(update={'length': 5})
    # With one speed candidates are ranked by their distance alone, so their order can be checked.
    matching = model.config.matching.model_copy(update={'speed_steps': 1})
    settings = model.config.model_copy(
        update={'keyframes': keyframes, 'sequence': sequence, 'matching': matching})
    paths = []
    for town in _TOWNS:
        lap = render(town, 1, length_m)
        mapper = Mapper(model, settings)
        for number, (image, pose) in enumerate(zip(lap.images, lap.poses, strict=True)):
            mapper.push(image, (number + 1) * STEP_NS, pose)
        save_map(mapper.finish(f'town {town}'), folder / f'town-{town}')
        open_map(folder / f'town-{town}', model)
        paths.append(folder / f'town-{town}')
    return paths
