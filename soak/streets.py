"""Two streets of a town, rendered once and kept in memory, and maps of them."""

from array import array
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import PlaceModel
from seqnet_town import OVERCAST, Camera, Drive, Town

_CAMERA = Camera(width=160, height=120)
_SEED = 7
_SPEED, _RATE = 6.0, 6.0
_STREETS_M = (0.0, 200.0)
"""Start of the two streets on the town's route, meters."""
STEP_NS = round(1e9 / _RATE)
"""Time between two images of a drive, nanoseconds."""


@dataclass(frozen=True)
class Lap:
    """A drive: RGB images uint8 ``[H, W, 3]`` and poses ``[7]``, one meter apart."""

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


@cache
def drive_streets(lap: int, length_m: float) -> list[Lap]:
    """Drive down both streets, for the first (0) or the second (1) time, with other traffic."""
    drive = _drive()
    laps = []
    for start_m in _STREETS_M:
        first, end = np.searchsorted(
            drive.distances, lap * drive.town.route_length + start_m + np.array([0.0, length_m]))
        frames = [drive.frame(number) for number in range(first, end)]
        laps.append(Lap([frame.read() for frame in frames], [frame.pose for frame in frames]))
    return laps


@cache
def _drive() -> Drive:
    return Drive(Town(seed=_SEED), OVERCAST, _CAMERA, speed=_SPEED, rate=_RATE, laps=2.0)


def make_maps(model: PlaceModel, folder: Path, length_m: float, *, skipped: int = 0) -> list[Path]:
    """Map both streets, as they look the first time; return the directories of the maps.

    Args:
        model: the model.
        folder: for the maps.
        length_m: of each street.
        skipped: images left out at the beginning, so that each place has another number.
    """
    # With one speed candidates are ranked by their distance alone, so their order can be checked.
    engine = model.preset.with_settings(
        {'keyframes.every': '1', 'sequence.length': 5, 'matching.speed_steps': 1}).engine
    paths = []
    for number, lap in enumerate(drive_streets(0, length_m)):
        mapper = Mapper(model, engine)
        frames = list(enumerate(zip(lap.images, lap.poses, strict=True)))
        for frame, (image, pose) in frames[skipped:]:
            mapper.push(image, (frame + 1) * STEP_NS, pose)
        path = folder / f'street-{number}'
        save_map(mapper.finish(path.name), path, overwrite=True, backup=False)
        paths.append(path)
    return paths
