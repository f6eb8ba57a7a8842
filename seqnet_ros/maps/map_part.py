"""A part of a map: the result of one process for its shard of a recording.

A part is one ``.npz`` file. Its arrays describe the frames of the shard, those that were observed,
and what was seen in them; ``manifest`` is a JSON document, as bytes.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.model import ModelConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.array_files import read_npz
from seqnet_ros.core.documents import parse_json
from seqnet_ros.core.errors import InputError, MapError
from seqnet_ros.core.files import whole_file
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.map_checks import check_array
from seqnet_ros.maps.observation import Observation
from seqnet_ros.maps.stored_values import Stored

SUFFIX = '.npz'
_MANIFEST = 'manifest'
_FORMAT = 1


class RecordingPath(Settings):
    """How a recording is opened, see `seqnet_ros.datasets.recordings.open_recording`."""

    path: str = Field(description='The recording, as it was named.')
    folder: str = Field(description='Folder in which that was.')
    topic: str | None = Field(None, description='Image topic of a bag.')
    poses: str | None = Field(None, description='Pose file.')
    pose_topic: str | None = Field(None, description='Pose topic of a bag.')
    rate: float | None = Field(None, description='Images per second of a folder or video.')


class PartManifest(Settings):
    """What a part belongs to; all fields except the last five are equal in all parts of a map."""

    format_version: int = Field(_FORMAT, ge=_FORMAT, le=_FORMAT, description='Format of the file.')
    opened: RecordingPath = Field(description='Where the recording was.')
    recording: str = Field(description='Name of the recording.')
    pose_origin: str = Field(description='Where its poses come from.')
    posed: bool = Field(description='Whether it has poses.')
    datum: Datum | None = Field(
        None, description='Where on the earth the frame of the poses begins.')
    frames: int = Field(ge=0, description='Number of frames that the recording states.')
    model: ModelConfig = Field(description='The model, in full.')
    engine: EngineConfig = Field(description='The settings.')
    fingerprint: str = Field(description='Hash over everything that determines the descriptors.')
    keep_images: bool = Field(description='Whether pictures are kept.')
    camera: dict[str, Any] | None = Field(None, description='The calibrated camera.')
    stored: Stored = Field(description='Type of the descriptors of the map on disk.')
    extends: str | None = Field(None, description='Id of the map to which the recording is added.')
    shards: int = Field(ge=1, description='Number of parts.')
    shard: int = Field(ge=1, description='Number of this part, from 1.')
    first: int = Field(ge=0, description='First frame of the shard.')
    before: str = Field(description='Hash over stamps and poses of all frames before.')
    damaged: dict[int, str] = Field(
        description='What is wrong with images that cannot be read, by frame.')
    observed: int = Field(ge=0, description='Number of images that were observed.')

    @model_validator(mode='after')
    def _shard_exists(self) -> 'PartManifest':
        if self.shard > self.shards:
            raise ValueError(f'shard is {self.shard}, expected at most {self.shards}')
        return self

    @property
    def preset(self) -> Preset:
        """The model and the settings, as a model file holds them."""
        return Preset(self.model, self.engine)

    def common(self) -> dict[str, Any]:
        """Return what all parts of a map have in common."""
        return self.model_dump(exclude={'shard': True, 'first': True, 'before': True,
                                        'damaged': True, 'observed': True,
                                        'opened': {'folder'}})


@dataclass(frozen=True, eq=False)
class MapPart:
    """Descriptors, features and pictures of a shard of a recording.

    Attributes:
        manifest: what it belongs to.
        stamps_ns: of all frames of the shard, int64 ``[F]``.
        poses: of all frames of the shard, float64 ``[F, 7]``, meters; NaN without a pose.
        frames: which frames of the recording were observed, ascending, int64 ``[M]``.
        descriptors: of these, float32 ``[M, D]``, as the model's describer made them.
        features: local features of these; None where the map has none.
        images: pictures of these; None where the map keeps none.
    """

    manifest: PartManifest
    stamps_ns: np.ndarray
    poses: np.ndarray
    frames: np.ndarray
    descriptors: np.ndarray
    features: KeyframeFeatures | None = None
    images: KeyframeImages | None = None

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {frame: row for row, frame in enumerate(self.frames.tolist())}

    def observation(self, frame: int) -> Observation | None:
        """Return what was seen in a frame; None where it was not observed."""
        row = self._rows.get(frame)
        if row is None:
            return None
        features, images = self.features, self.images
        return Observation(
            self.descriptors[row],
            None if features is None else lambda: features.of(row),
            None if images is None else lambda: images.jpeg(row))


class FrameDigest:
    """A hash over the stamps and poses of frames, in their order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, stamps_ns: np.ndarray, poses: np.ndarray) -> None:
        """Add frames: int64 ``[F]`` and float64 ``[F, 7]``."""
        self._digest.update(np.column_stack(
            [stamps_ns, np.ascontiguousarray(poses, np.float64).view(np.int64)]).tobytes())

    @property
    def value(self) -> str:
        """The hash over the frames so far."""
        return self._digest.hexdigest()


def write_part(part: MapPart, path: Path) -> None:
    """Write a part; the file appears complete or not at all.

    Raises:
        InputError: it cannot be written.
    """
    manifest = json.dumps(part.manifest.model_dump(mode='json'), sort_keys=True).encode()
    arrays = {
        'stamps_ns': part.stamps_ns, 'poses': part.poses, 'frames': part.frames,
        'descriptors': part.descriptors,
        **({} if part.features is None else part.features.arrays()),
        **({} if part.images is None else part.images.arrays())}
    with whole_file(path) as file:
        np.savez(file, **{_MANIFEST: np.frombuffer(manifest, np.uint8),
                          **arrays})  # type: ignore[arg-type]


def read_part_manifest(path: Path) -> PartManifest:
    """Read what a part belongs to.

    Raises:
        InputError: the file is missing or damaged, or is no part of a map.
    """
    try:
        content = read_npz(path, names=[_MANIFEST])[_MANIFEST]
        if content.ndim != 1 or content.dtype != np.uint8:
            raise InputError(f'manifest is {content.dtype} {list(content.shape)}')
        return PartManifest.model_validate(parse_json(content.tobytes(), 'the manifest'))
    except ValidationError as error:
        raise InputError(f'{path} is no part of a map: {describe_validation_error(error)}'
                         ) from error
    except InputError as error:
        raise InputError(f'{path} is no part of a map: {error}') from error


def is_part(path: Path) -> bool:
    """Return whether a file is a part of a map, which may be replaced by another one."""
    try:
        read_part_manifest(path)
    except InputError:
        return False
    return True


def read_part(path: Path) -> MapPart:
    """Read a part.

    Raises:
        InputError: the file is missing or damaged, or is no part of a map.
    """
    manifest = read_part_manifest(path)
    arrays = read_npz(path)
    try:
        part = MapPart(
            manifest, arrays['stamps_ns'], arrays['poses'], arrays['frames'],
            arrays['descriptors'],
            None if manifest.engine.geometry is None else KeyframeFeatures.of_arrays(arrays),
            KeyframeImages.of_arrays(arrays) if manifest.keep_images else None)
        _check(part)
    except KeyError as error:
        raise InputError(f'{path} lacks the array {error}, expected a part of a map') from error
    except MapError as error:
        raise InputError(f'{path} is no part of a map: {error}') from error
    return part


def _check(part: MapPart) -> None:
    """Check shapes, types and frame numbers.

    Raises:
        MapError: they are inconsistent.
    """
    manifest, count, observed = part.manifest, len(part.stamps_ns), part.manifest.observed
    check_array('stamps_ns', part.stamps_ns, (count,), 'int64')
    check_array('poses', part.poses, (count, 7), 'float64')
    check_array('frames', part.frames, (observed,), 'int64')
    width = part.descriptors.shape[-1] if part.descriptors.ndim == 2 else 0
    check_array('descriptors', part.descriptors, (observed, width), 'float32')
    inside = (part.frames >= manifest.first) & (part.frames < manifest.first + count)
    if not inside.all() or (np.diff(part.frames) <= 0).any():
        raise MapError(f'its frames are not ascending from {manifest.first}')
    if part.features is not None:
        assert manifest.engine.geometry is not None
        part.features.check(observed, manifest.engine.geometry.features)
    if part.images is not None:
        part.images.check(observed)
