"""Map a recording with several processes: each observes a shard of it, and one merges the parts.

The keyframes of a recording follow from one another. Where it has poses, a process selects those
of the frames before its shard without reading an image, and goes on from there; without poses, the
descriptors may decide, and all images of a shard are observed. Merging selects the keyframes as
one process would have done, with the observations that are there, so the map is the same to the
byte, however many parts there are. An image that cannot be read may move the keyframes after it;
those that no process expected are observed when the parts are merged.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import DamagedImageError, InputError, MapModelMismatchError, quoted
from seqnet_ros.core.scratch_arrays import GrowingRows
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk, image_reader
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.open_recording import PosedSource, open_source
from seqnet_ros.descriptors.local_features import LocalFeatures
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.map_part import (
    FrameDigest,
    MapPart,
    PartManifest,
    RecordingPath,
    read_part,
    read_part_manifest,
)
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.observation import Observation, Observer
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.stored_values import Stored
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.pipelines.map_recording import MappedRecording, datum_of_source
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.sequences.keyframes import keyframe_settings

_SHARD = re.compile('([0-9]{1,6})/([0-9]{1,6})')
_NO_POSE = np.full(7, np.nan)
_NOT_KEPT = Observation(np.zeros(1, np.float32))
"""Stands for any observation where only stamps and poses select keyframes."""


@dataclass(frozen=True)
class Shard:
    """One of several stretches of a recording.

    Attributes:
        number: from 1.
        count: number of shards.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """Read a shard like '3/8'.

        Raises:
            InputError: the text is none.
        """
        match = _SHARD.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"shard {quoted(text)} is invalid, expected one like '3/8': from 1/8 "
                             'to 8/8')
        return cls(int(match[1]), int(match[2]))

    def frames(self, total: int) -> range:
        """Return the frames of the shard."""
        return range(total * (self.number - 1) // self.count, total * self.number // self.count)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f'{self.number}/{self.count}'


def observe_shard(opened: RecordingPath, shard: Shard, model: PlaceModel, *,
                  keep_images: bool = False, camera: CameraModel | None = None,
                  stored: Stored = 'float32', extends: PlaceMap | None = None,
                  bars: Bars = no_bar) -> MapPart:
    """Observe the images of a shard that may become places.

    Args:
        opened: the recording.
        shard: the shard.
        model: the model, with the settings of the map.
        keep_images: keep a small picture of every place.
        camera: the calibrated camera, where it is known.
        stored: type of the descriptors of the map on disk.
        extends: the map to which the recording is added, its poses in the frame of the map.
        bars: shows progress.

    Raises:
        InputError: the recording cannot be read, or has no poses where the settings need them.
        MapModelMismatchError: the map to extend was made with another model.
    """
    source = _open(opened, extends)
    posed, span = isinstance(source, PosedSource), shard.frames(len(source))
    observed = _Observed(Observer(model, model.engine.geometry, keep_images, camera))
    selector = Mapper(model, extends=extends)
    spacing = selector.spacing_of(posed)
    by_descriptor = not posed and keyframe_settings(model.engine, spacing).min_change > 0
    stamps: list[int] = []
    poses: list[np.ndarray] = []
    damaged: dict[int, str] = {}
    # A recording may go on after the number of frames that it states.
    frames = source if shard.number == shard.count else islice(source, span.stop)
    with bars('observing', span.stop) as progress:
        for number, frame in enumerate(frames):
            stamps.append(frame.stamp_ns)
            poses.append(_NO_POSE if frame.pose is None else frame.pose)
            progress(number + 1)
            inside = number >= span.start
            if (posed and frame.pose is None) or (by_descriptor and not inside):
                continue
            observe = partial(observed.add, number, frame) if inside else _do_not_observe
            try:
                if by_descriptor:
                    observe()
                else:
                    selector.offer_observation(observe, frame.stamp_ns, frame.pose)
            except DamagedImageError as error:
                damaged[number] = str(error)
    all_stamps, all_poses = np.array(stamps, np.int64), np.array(poses).reshape(-1, 7)
    before = FrameDigest()
    before.add(all_stamps[:span.start], all_poses[:span.start])
    manifest = PartManifest(
        opened=opened, recording=source.name, pose_origin=source.pose_origin, posed=posed,
        datum=Datum.of(datum_of_source(source)),
        frames=len(source), model=model.config, engine=model.engine,
        fingerprint=model.fingerprint, keep_images=keep_images,
        camera=None if camera is None else camera.to_document(), stored=stored,
        extends=None if extends is None else extends.manifest.map_id,
        shards=shard.count, shard=shard.number, first=span.start, before=before.value,
        damaged=damaged, observed=len(observed.frames))
    geometry = model.engine.geometry
    return MapPart(
        manifest, all_stamps[span.start:], all_poses[span.start:],
        np.array(observed.frames, np.int64), observed.descriptors.array,
        None if geometry is None else KeyframeFeatures.collect(
            observed.features, geometry.features),
        KeyframeImages.collect(observed.jpegs) if keep_images else None)


def merge_parts(paths: Sequence[Path], build: Callable[[PartManifest], PlaceModel],
                extend: Callable[[PlaceModel], PlaceMap | None] = lambda model: None,
                bars: Bars = no_bar) -> MappedRecording:
    """Make the map of a recording from the parts of all shards.

    It is the map that `seqnet_ros.pipelines.map_recording` makes of the recording.

    Args:
        paths: the parts, in any order.
        build: loads the model of the parts.
        extend: opens the map to which the recording is added, with that model.
        bars: shows progress.

    Raises:
        InputError: a part is missing, damaged, given twice or of another map, no image can be used,
            an image is needed that is in no part, and the recording has gone or changed, or the
            parts were made to extend another map.
        MapModelMismatchError: the model is not that of the parts.
    """
    ordered = _in_order(paths)
    manifest = next(iter(ordered.values()))
    model = build(manifest)
    if model.fingerprint != manifest.fingerprint:
        raise MapModelMismatchError(
            f'the parts were made with model {manifest.model.name!r} '
            f'({manifest.fingerprint[:8]}), but the model in use is {model.config.name!r} '
            f'({model.fingerprint[:8]})')
    camera = None if manifest.camera is None else CameraModel.from_document(manifest.camera)
    extends = extend(model)
    _check_extended(manifest, extends)
    mapper = Mapper(model, extends=extends, keep_images=manifest.keep_images, camera=camera,
                    stored=manifest.stored)
    recording = _Recording(manifest.opened, extends, Observer(
        model, model.engine.geometry, manifest.keep_images, camera))
    with bars('mapping', manifest.frames) as progress:
        walk = FrameWalk(_frames(ordered), lambda frame: manifest.posed and frame.pose is None,
                         progress)
        for _ in walk.results(lambda frame: mapper.offer_observation(
                partial(_seen, frame, recording), frame.stamp_ns, frame.pose)):
            pass
    walk.conclude(manifest.recording, manifest.pose_origin)
    with bars('calibrating', 1):
        place_map = mapper.finish(
            manifest.recording, manifest.pose_origin,
            datum=None if manifest.datum is None else manifest.datum.point)
    return MappedRecording(place_map, walk.without_pose, tuple(walk.damaged))


def _check_extended(manifest: PartManifest, extends: PlaceMap | None) -> None:
    found = None if extends is None else extends.manifest.map_id
    if found != manifest.extends:
        given, expected = ('no map to extend' if one is None else f'the map {one[:8]}'
                           for one in (found, manifest.extends))
        raise InputError(f'{given} was given, expected {expected}, as when the parts were made')


class _Observed:
    """The observations of a shard."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.frames: list[int] = []
        self.descriptors = GrowingRows()
        self.features: list[LocalFeatures] = []
        self.jpegs: list[bytes] = []

    def add(self, number: int, frame: Frame) -> Observation:
        """Observe a frame; the selection of keyframes does not look at the result."""
        seen = self._observer.observe(image_reader(frame)())
        if seen.features is not None:
            self.features.append(seen.features())
        if seen.jpeg is not None:
            self.jpegs.append(seen.jpeg())
        self.descriptors.append(seen.descriptor)
        self.frames.append(number)
        return _NOT_KEPT


class _PartFrame(NamedTuple):
    """A frame of a part."""

    part: MapPart
    number: int
    stamp_ns: int
    pose: np.ndarray | None


class _Recording:
    """The recording of the parts, opened only where an image is needed that is in no part."""

    def __init__(self, opened: RecordingPath, extends: PlaceMap | None,
                 observer: Observer) -> None:
        self._opened = opened
        self._extends = extends
        self._observer = observer
        self._frames: Iterator[tuple[int, Frame]] | None = None

    def observe(self, number: int, stamp_ns: int) -> Observation:
        """Observe a frame; frames must be asked for in their order.

        Raises:
            InputError: the recording is not there any more, or is another one.
        """
        try:
            if self._frames is None:
                self._frames = enumerate(
                    _open(self._opened, self._extends, self._opened.folder))
            frame = next((frame for found, frame in self._frames if found == number), None)
        except InputError as error:
            raise InputError(f'image {number} is needed, because one before it cannot be read, but '
                             f'the recording cannot be opened: {error}') from error
        if frame is None or frame.stamp_ns != stamp_ns:
            raise InputError(f'{self._opened.path} has changed since the parts were made: image '
                             f'{number} is another one')
        return self._observer.observe(image_reader(frame)())


def _open(opened: RecordingPath, extends: PlaceMap | None, folder: str = '') -> FrameSource:
    """Open the recording; GPS positions begin where those of the map to extend do."""
    poses = None if opened.poses is None else Path(folder, opened.poses)
    return open_source(Path(folder, opened.path), opened.topic, poses, opened.pose_topic,
                       opened.rate, None if extends is None else extends.manifest.geo_datum)


def _do_not_observe() -> Observation:
    return _NOT_KEPT


def _seen(frame: _PartFrame, recording: _Recording) -> Observation:
    """Return what was seen in a frame.

    Raises:
        DamagedImageError: its image cannot be read.
    """
    damaged = frame.part.manifest.damaged.get(frame.number)
    if damaged is not None:
        raise DamagedImageError(damaged)
    return frame.part.observation(frame.number) or recording.observe(frame.number, frame.stamp_ns)


def _in_order(paths: Sequence[Path]) -> dict[Path, PartManifest]:
    """Return the parts in the order of their shards, after checking that all belong together."""
    by_shard: dict[int, Path] = {}
    manifests = {path: read_part_manifest(path) for path in paths}
    first = next(iter(manifests), None)
    if first is None:
        raise InputError('no part was given, expected all parts of a map')
    expected = manifests[first].common()
    for path, manifest in manifests.items():
        found = manifest.common()
        differing = [name for name in expected if found[name] != expected[name]]
        if differing:
            raise InputError(f'{path} and {first} are parts of different maps: they differ in '
                             f'{", ".join(differing)}')
        if manifest.shard in by_shard:
            raise InputError(f'{by_shard[manifest.shard]} and {path} are both part '
                             f'{manifest.shard}/{manifest.shards}, expected one of them')
        by_shard[manifest.shard] = path
    count = manifests[first].shards
    missing = [number for number in range(1, count + 1) if number not in by_shard]
    if missing:
        raise InputError(f'found {len(by_shard)} of {count} parts: part {missing[0]}/{count} is '
                         'missing')
    return {by_shard[number]: manifests[by_shard[number]] for number in sorted(by_shard)}


def _frames(parts: dict[Path, PartManifest]) -> Iterator[_PartFrame]:
    """Yield the frames of all parts; one part is in memory at a time."""
    before, count = FrameDigest(), 0
    for path in parts:
        part = read_part(path)
        if part.manifest.before != before.value or (
                len(part.stamps_ns) and part.manifest.first != count):
            raise InputError(f'{path} does not go on where the part before it ends: the recording '
                             'or its poses changed between them')
        for row, (stamp_ns, pose) in enumerate(zip(part.stamps_ns.tolist(), part.poses,
                                                   strict=True)):
            yield _PartFrame(part, part.manifest.first + row, stamp_ns,
                             None if np.isnan(pose[0]) else pose)
        before.add(part.stamps_ns, part.poses)
        count += len(part.stamps_ns)
