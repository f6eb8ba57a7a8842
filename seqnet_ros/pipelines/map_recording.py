"""Make a map of a recording."""

import logging
from dataclasses import dataclass

from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.datasets.recordings.open_recording import PosedSource
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.pipelines.progress import Bars, no_bar

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class MappedRecording:
    """A map and what was skipped on the way.

    Attributes:
        place_map: the map.
        without_pose: number of images skipped because they have no pose.
        damaged: one message for each unreadable image.
    """

    place_map: PlaceMap
    without_pose: int
    damaged: tuple[str, ...]


def map_recording(source: FrameSource, mapper: Mapper, bars: Bars = no_bar) -> MappedRecording:
    """Make a map of a recording, as ``seqnet_ros map build`` does.

    Images without a pose are skipped where the recording has poses, and so are damaged images.

    Args:
        source: the recording, see `seqnet_ros.datasets.recordings.open_recording.open_source`.
        mapper: the engine, without any image so far.
        bars: shows progress.

    Raises:
        InputError: no image can be used, or poses do not fit the settings.
    """
    walk = collect_places(source, mapper, bars)
    with bars('calibrating', 1):
        place_map = mapper.finish(source.name, source.pose_origin, datum=datum_of_source(source))
    return MappedRecording(place_map, walk.without_pose, tuple(walk.damaged))


def datum_of_source(source: FrameSource) -> GeoPoint | None:
    """Return where on the earth the frame of a recording's poses begins."""
    return source.datum if isinstance(source, PosedSource) else None


def collect_places(source: FrameSource, mapper: Mapper, bars: Bars = no_bar) -> RecordingWalk:
    """Push all images of a recording into a mapper, and return what was skipped.

    Raises:
        InputError: no image can be used, or poses do not fit the settings.
    """
    if isinstance(source, PosedSource):
        _logger.info('poses: %s', source.pose_origin)
    else:
        _logger.info('%s has no poses: frame number = metres', source.name)
    with bars('mapping', len(source)) as progress:
        walk = RecordingWalk(source, progress)
        for _ in walk.results(lambda frame: mapper.push_lazily(
                image_reader(frame), frame.stamp_ns, frame.pose)):
            pass
    walk.finish()
    return walk
