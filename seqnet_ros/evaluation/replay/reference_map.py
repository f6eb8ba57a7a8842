"""Reference drive: a map, and the frames and true poses of its places."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk, warn_without_pose
from seqnet_ros.datasets.recordings.open_recording import PosedSource
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import Recordings, ReplayFrame
from seqnet_ros.evaluation.replay.reference_places import (
    ReferencePlaces,
    array_bytes,
    spread_rows,
)
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import MapManifest, PlaceMap

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ReferenceMap(ReferencePlaces):
    """A map and the frames its places were made of.

    Attributes:
        place_map: the map.
        place_frames: int64 ``[N]``, numbers of frames in their row of recordings; -1 where not
            known.
        truth: float64 ``[N, 7]``, true poses of the places, NaN where not known.
        left_out: images without a pose, which have no place.
        damaged: why images could not be read.
    """

    place_map: PlaceMap
    place_frames: np.ndarray
    truth: np.ndarray
    left_out: int = 0
    damaged: tuple[str, ...] = ()

    @property
    def manifests(self) -> tuple[MapManifest, ...]:
        """The manifest of the map."""
        return (self.place_map.manifest,)

    @property
    def poses(self) -> np.ndarray:
        """Poses of the places in the map, float64 ``[N, 7]``."""
        return self.place_map.poses

    @property
    def bytes(self) -> int:
        """Size of the arrays of the map."""
        return array_bytes(self.place_map)

    def compared_frames(self) -> np.ndarray:
        """Return frames of evenly spread places, see `ReferencePlaces.compared_frames`."""
        return np.asarray(self.place_map.matching_frames)[spread_rows(len(self.place_map))]


def map_recordings(described: DescriptorCache, recordings: Recordings,
                   progress: Callable[[int], None],
                   engine: EngineConfig | None = None,
                   camera: CameraModel | None = None) -> ReferenceMap:
    """Make a map of recordings.

    Args:
        described: the model.
        recordings: what to map.
        progress: told how many frames are done.
        engine: the settings; None takes those of the model's file.
        camera: the calibrated camera of the recordings, where it is known.

    Raises:
        InputError: no image became a place.
    """
    mapper = Mapper(described.model, engine, camera=camera)
    files = described.files(recordings)
    places: list[ReplayFrame] = []
    posed = [isinstance(source, PosedSource) for source in recordings.sources]
    walk = FrameWalk(recordings, lambda found: posed[found.recording] and found.frame.pose is None,
                     progress)
    for found, is_place in walk.results(lambda found: mapper.push_lazily(
            described.reader(files, found), found.frame.stamp_ns, found.frame.pose)):
        if is_place:
            # Its closure may hold an image in memory.
            places.append(found._replace(frame=replace(found.frame, read=_nothing)))
    names = ', '.join(source.name for source in recordings.sources)
    pose_origin = ', '.join(dict.fromkeys(source.pose_origin for source in recordings.sources))
    walk.require_used(names, pose_origin)
    warn_without_pose(walk.without_pose, len(recordings), names)
    place_map = mapper.finish(names, pose_origin)
    return ReferenceMap(
        place_map, np.array([found.number for found in places]), _stack(places),
        walk.without_pose, tuple(walk.damaged))


def _nothing() -> np.ndarray:
    raise InputError('the image was not stored')


def _stack(places: list[ReplayFrame]) -> np.ndarray:
    nowhere = np.full(7, np.nan)
    return np.stack([nowhere if found.truth is None else found.truth for found in places])


class PlacesOfFrames:
    """Tells by their times which frames of recordings the places of a map were made of.

    Args:
        recordings: those that maps were made of.
    """

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._of_stamp: list[dict[int, ReplayFrame]] = [{} for _ in recordings.sources]
        self._merged: dict[tuple[int, ...], dict[int, ReplayFrame]] = {}
        for found in recordings:
            self._of_stamp[found.recording][found.frame.stamp_ns] = found._replace(
                frame=replace(found.frame, read=_nothing))

    @property
    def tells_truth(self) -> bool:
        """Whether the recordings have true poses beside those that maps are made with."""
        return any(one is not None for one in self._recordings.truths)

    def of(self, place_map: PlaceMap, names: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the true poses ``[N, 7]`` and the frames ``[N]`` of the places of a map.

        Without true poses they are those of the map. Frames that are not known are -1.

        Args:
            place_map: the map.
            names: the recordings that it was made of, if only these come into question: where
                their names are known here, others do not count.

        Raises:
            InputError: several of these recordings have frames of the same time.
        """
        of_stamp = self._frames_of(names)
        places = [of_stamp.get(int(stamp)) for stamp in place_map.stamps_ns]
        frames = np.array([-1 if place is None else place.number for place in places])
        if not self.tells_truth:
            return place_map.poses, frames
        return np.stack([np.full(7, np.nan) if place is None or place.truth is None
                         else place.truth for place in places]), frames

    def _frames_of(self, names: str | None) -> dict[int, ReplayFrame]:
        every = tuple(range(len(self._of_stamp)))
        named = every if names is None else tuple(
            number for number in every
            if self._recordings.sources[number].name in names.split(', '))
        chosen = named or every
        if chosen not in self._merged:
            self._merged[chosen] = {stamp: frame for number in chosen
                                    for stamp, frame in self._of_stamp[number].items()}
        found = self._merged[chosen]
        if names is not None and len(found) < sum(len(self._of_stamp[one]) for one in chosen):
            raise InputError(
                'recordings of --map-source have frames of the same times, so that it is not known '
                f'which of them show the places of a tile of {names}: expected the paths that the '
                'maps were built with')
        return found


def known_map(place_map: PlaceMap, recordings: Recordings | None) -> ReferenceMap:
    """Return a map that was made before, with the frames it was made of where they are known.

    Args:
        place_map: the map.
        recordings: those it was made of; None if they are not available.
    """
    if recordings is None:
        return ReferenceMap(place_map, np.full(len(place_map), -1), place_map.poses)
    truth, frames = PlacesOfFrames(recordings).of(place_map)
    if (frames < 0).all():
        _logger.warning('no place of the map comes from %s: their times differ',
                        ', '.join(source.name for source in recordings.sources))
    return ReferenceMap(place_map, frames, truth)
