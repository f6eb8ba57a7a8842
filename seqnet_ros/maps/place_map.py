"""The map of places: one row for every keyframe of the mapping drive."""

import mmap
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from scipy.spatial import cKDTree

from seqnet_ros.config.engine import (
    EngineConfig,
    FilterConfig,
    GeometryConfig,
    MatchingConfig,
)
from seqnet_ros.config.model import ModelConfig
from seqnet_ros.config.preset import Preset, join_document, split_document
from seqnet_ros.config.settings import Settings
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.poses import median_step
from seqnet_ros.maps.completeness import Completeness
from seqnet_ros.maps.datum import Datum, datum_in
from seqnet_ros.maps.index import CoarseIndex
from seqnet_ros.maps.integrity import MapIntegrity
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.map_checks import check_array, check_descriptors
from seqnet_ros.maps.stored_values import Stored, scales_name
from seqnet_ros.maps.views import View, check_views
from seqnet_ros.place_filter.active_states import spread_sample
from seqnet_ros.place_filter.scene_change import SceneChange
from seqnet_ros.place_filter.state_space import mean_step
from seqnet_ros.place_filter.turns import turns_per_meter

PLAIN_FORMAT, PROJECTED_FORMAT, IMAGED_FORMAT, ROUNDED_FORMAT = 1, 2, 3, 4
"""Formats of maps without and with frames that a projection described, of maps that keep local
features or pictures of their places or name a camera, with or without a projection, and of any
maps whose descriptors are stored in fewer bytes."""
FORMATS = (PLAIN_FORMAT, PROJECTED_FORMAT, IMAGED_FORMAT, ROUNDED_FORMAT)

FRAME_NUMBERS = 'frame number = metres'
"""Origin of poses that were not measured: the places are one meter apart on a line."""


class Calibration(Settings):
    """Distances of sequences to places they do not show, measured within the map.

    Each of the four lists has one value per sequence. Runs of successive places show whether wrong
    matches agree with one another.
    """

    sequence_length: int = Field(ge=1, description='Length of the sequences measured.')
    matching: MatchingConfig = Field(description='Settings of the search.')
    queries: tuple[int, ...] = Field(description='Places the sequences end at.')
    places: tuple[int, ...] = Field(description='Best wrong place of each.')
    distances: tuple[float, ...] = Field(description='Its sequence distance.')
    margins: tuple[float, ...] = Field(
        description='Its relative gap to the next distinct wrong place.')

    @model_validator(mode='after')
    def _samples_make_sense(self) -> 'Calibration':
        lengths = {len(self.queries), len(self.places), len(self.distances), len(self.margins)}
        if len(lengths) > 1:
            raise ValueError(f'the samples have {sorted(lengths)} values, expected as many of each')
        if not np.isfinite(self.distances).all() or np.isnan(self.margins).any():
            raise ValueError('a distance or a margin is not a number')
        return self


class FilterCalibration(Settings):
    """How sure the place filter must be on a map."""

    settings: FilterConfig = Field(description='Settings of the filter it was measured with.')
    bias: float = Field(
        ge=-20, le=20, allow_inf_nan=False,
        description='Log odds of the mass of a place at which 99 % of the matches are correct.')
    keyframes: int = Field(ge=0, description='Number of keyframes it was measured over.')


class FeatureRecord(Settings):
    """Settings of a map's local features."""

    features: Literal['sift', 'orb'] = Field(description='Kind of the features.')
    max_features: int = Field(ge=1, description='Features kept of an image.')
    max_width: int = Field(ge=1, description='Width that wider images were shrunk to, pixels.')

    @classmethod
    def of(cls, config: GeometryConfig) -> 'FeatureRecord':
        """Return the settings that determine the features."""
        return cls(features=config.features, max_features=config.max_features,
                   max_width=config.max_width)


class MapManifest(Settings):
    """Manifest of a map (``manifest.json``).

    In documents ``model`` is laid out like a model file and holds ``engine``, too.
    """

    format_version: int = Field(
        PLAIN_FORMAT, description='4 with descriptors in fewer bytes, else 3 with local features, '
                                  'pictures or a camera, else 2 with projected frames, else 1.')
    map_id: str = Field(description='Hash over the content: equal maps have equal ids.')
    model: ModelConfig = Field(description='The model the map was made with, in full.')
    engine: EngineConfig = Field(
        description='The settings the map was made with, the defaults for localizing.')
    fingerprint: str = Field(description='Hash over everything that determines the descriptors.')
    places: int = Field(ge=1, description='Number of places.')
    dim: int = Field(ge=1, description='Length of a frame descriptor.')
    sequence_dim: int = Field(ge=1, description='Length of a sequence descriptor.')
    sequence_length: int = Field(ge=1, description='Frames per sequence descriptor.')
    spacing: str = Field(description='Spacing of the keyframes that made the places.')
    usual_change: float = Field(
        ge=0, allow_inf_nan=False,
        description='Median L2 distance between descriptors of successive places.')
    route_length_m: float = Field(
        ge=0, allow_inf_nan=False, description='Distance traveled along the places, m.')
    source: str = Field(description='Name of the recording.')
    pose_origin: str = Field(description='Where the poses come from.')
    calibration: Calibration | None = None
    filter_calibration: FilterCalibration | None = None
    features: FeatureRecord | None = Field(None, description='Local features of the places.')
    images: bool = Field(False, description='Whether the map contains an image of every place.')
    camera: dict[str, Any] | None = Field(
        None, description='The calibrated camera of the drive.')
    completeness: Completeness | None = Field(
        None, description='What the drives lack; none in maps of earlier versions.')
    datum: Datum | None = Field(
        None, description='Where on the earth the frame of the poses begins, if that is known.')
    views: tuple[View, ...] = Field(
        (), description='What later drives say of the stretches of the map; none before a map was '
                        'refreshed.')
    stored: Stored = Field('float32', description='Type of the descriptors on disk.')

    @field_validator('camera')
    @classmethod
    def _camera_makes_sense(cls, document: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            return None if document is None else CameraModel.from_document(document).to_document()
        except InputError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode='before')
    @classmethod
    def _split_model(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(values.get('model'), dict) or 'engine' in values:
            return values
        model, engine = split_document(values['model'])
        return {**values, 'model': model, 'engine': engine}

    @property
    def preset(self) -> Preset:
        """The model and the settings, as a model file holds them."""
        return Preset(self.model, self.engine)

    @property
    def camera_model(self) -> CameraModel | None:
        """The calibrated camera of the drive; None where it is not known."""
        return None if self.camera is None else CameraModel.from_document(self.camera)

    @property
    def geo_datum(self) -> GeoPoint | None:
        """Where on the earth the frame of the map begins; None where it is not known."""
        return datum_in(self.pose_origin) if self.datum is None else self.datum.point

    @property
    def has_poses(self) -> bool:
        """Whether the poses were measured; else they only number the places."""
        return self.pose_origin != FRAME_NUMBERS

    @property
    def matching_dim(self) -> int:
        """Length of the frame descriptors that sequence matching compares."""
        projection = self.model.projection
        return self.dim if projection is None else projection.out_dim or self.dim

    @property
    def descriptors(self) -> dict[str, bool]:
        """The arrays of descriptors, and whether their rows are of unit length."""
        arrays = {'frames': self.model.normalises_frames, 'sequences': False}
        return {**arrays, 'projected': True} if self.model.projects_frames else arrays

    @model_validator(mode='after')
    def _parts_fit(self) -> 'MapManifest':
        self.model.sequence.check_length(self.engine.sequence.length)
        expected = format_of(self.model, self.features is not None or self.images
                             or self.camera is not None or self.engine.geometry is not None,
                             self.stored)
        if self.format_version != expected:
            raise ValueError(f'format_version is {self.format_version}, expected {expected} for '
                             f'model {self.model.name}')
        return self

    @model_validator(mode='after')
    def _calibration_fits(self) -> 'MapManifest':
        if self.calibration is not None:
            numbers = (*self.calibration.queries, *self.calibration.places)
            if numbers and not 0 <= min(numbers) <= max(numbers) < self.places:
                raise ValueError(f'the calibration names places from {min(numbers)} to '
                                 f'{max(numbers)}, expected some of {self.places}')
        return self

    @model_validator(mode='after')
    def _views_fit(self) -> 'MapManifest':
        check_views(self.views, self.places)
        return self

    @model_serializer(mode='wrap')
    def _leave_out_absent_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit these parts if the map has none, as earlier versions did."""
        document = handler(self)
        document['model'] = join_document(document['model'], document.pop('engine'))
        for part in ('features', 'images', 'camera', 'filter_calibration', 'completeness',
                     'datum', 'views'):
            if not document.get(part):
                document.pop(part, None)
        if self.stored == 'float32':
            document.pop('stored', None)
        return document


def format_of(model: ModelConfig, imaged: bool = False, stored: Stored = 'float32') -> int:
    """Return the format of a map: the earliest one that can hold it.

    Args:
        model: the model it is made with.
        imaged: whether it keeps local features, pictures or a camera, or has geometry settings.
        stored: type of its descriptors on disk.
    """
    if stored != 'float32':
        return ROUNDED_FORMAT
    if imaged:
        return IMAGED_FORMAT
    return PROJECTED_FORMAT if model.projects_frames else PLAIN_FORMAT


def array_names(model: ModelConfig) -> tuple[str, ...]:
    """Return the names of the arrays that every map of a model has."""
    names = ('frames', 'sequences', 'mean', 'stamps_ns', 'poses', 'segment_starts')
    return (*names, 'projected') if model.projects_frames else names


class Located(Protocol):
    """Places with their positions only."""

    @property
    def positions(self) -> np.ndarray:
        """Positions of the places, float64 ``[N, 3]``, meters."""
        ...

    @property
    def step_m(self) -> float:
        """Usual distance between successive places, meters."""
        ...


class Places(Located, Protocol):
    """Searchable places: a map, or the current drive."""

    @property
    def index(self) -> CoarseIndex:
        """Coarse index over the sequence descriptors."""
        ...

    @property
    def matching_frames(self) -> np.ndarray:
        """The frames that sequence matching compares, float32 ``[>= N, D'']``."""
        ...

    def stretches(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first place and one past the last place of the stretch of each ``[K]``."""
        ...


def optional_array_names(manifest: MapManifest) -> tuple[str, ...]:
    """Return the names of the optional arrays of a map."""
    features = ('feature_offsets', 'feature_points', 'feature_descriptors', 'feature_sizes')
    images = ('image_offsets', 'image_data')
    return (features if manifest.features is not None else ()) + (
        images if manifest.images else ()) + scale_names(manifest)


def scale_names(manifest: MapManifest) -> tuple[str, ...]:
    """Return the names of the arrays with scales of descriptors."""
    return tuple(scales_name(name) for name, unit in manifest.descriptors.items()
                 if manifest.stored == 'int8' and not unit)


@dataclass(frozen=True)
class PlaceMap:
    """A map in memory, or memory-mapped from disk and read-only.

    Attributes:
        manifest: description of the map.
        frames: float32 ``[N, D]``, frame descriptors, centered and L2-normalized; VLAD sums as they
            are.
        sequences: float32 ``[N, D']``, descriptors of the trailing windows.
        mean: float32 ``[D]``, mean descriptor of the drive; zeros without centering.
        stamps_ns: int64 ``[N]``.
        poses: float64 ``[N, 7]``, meters, map frame.
        segment_starts: int64 ``[N]``, first place of the unbroken stretch each place is on.
        index: coarse index over ``sequences``.
        projected: float32 ``[N, D'']``, the frames as the model's projection describes them for
            sequence matching, NetVLAD descriptors in the case of VLAD sums; None for models
            without.
        features: local features of all places; None where the map keeps none.
        images: a picture of every place; None where the map keeps none.
        integrity: watches the files of a memory-mapped map; None for a map in memory.
        entries: index by which the place filter finds places to come onto a large map at, where
            that is not ``index``.
    """

    manifest: MapManifest
    frames: np.ndarray
    sequences: np.ndarray
    mean: np.ndarray
    stamps_ns: np.ndarray
    poses: np.ndarray
    segment_starts: np.ndarray
    index: CoarseIndex
    projected: np.ndarray | None = None
    features: KeyframeFeatures | None = None
    images: KeyframeImages | None = None
    integrity: MapIntegrity | None = None
    entries: CoarseIndex | None = None

    def check_unchanged(self) -> None:
        """Check that the map on disk still is the one that was opened.

        To be called before and after every search.

        Raises:
            MapError: another program has written to it, or damage was found meanwhile.
        """
        if self.integrity is not None:
            self.integrity.check()

    def verify_places(self, first: int, end: int) -> None:
        """Verify the descriptors of places ``first`` to ``end`` of a memory-mapped map.

        Each block of a file is compared with its checksum once.

        Raises:
            MapError: they were altered, or are not descriptors.
        """
        if self.integrity is None or self.manifest.stored != 'float32':
            return  # others were compared when they were read
        for name, unit in self.manifest.descriptors.items():
            array = getattr(self, name)
            if isinstance(array, np.memmap):
                row = array.strides[0]
                self.integrity.verify(name, array.offset + first * row, array.offset + end * row)
            check_descriptors(name, array[first:end], unit, first)

    def release_pages(self) -> None:
        """Release the memory of a memory-mapped map that was read; later reads load it again.

        The system would do so when memory runs short, but every read brings many pages with it.
        """
        for name in self.manifest.descriptors:
            file = getattr(self, name).base
            if self.integrity is not None and isinstance(file, mmap.mmap):
                file.madvise(mmap.MADV_DONTNEED)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by the names of their files."""
        arrays = {name: getattr(self, name) for name in array_names(self.manifest.model)}
        for part in (self.features, self.images):
            arrays.update({} if part is None else part.arrays())
        return arrays

    @property
    def matching_frames(self) -> np.ndarray:
        """The frames that sequence matching compares, float32 ``[N, D'']``, of unit length."""
        return self.frames if self.projected is None else self.projected

    def read_frames(self, places: np.ndarray) -> np.ndarray:
        """Return `matching_frames` of some places, ascending, a copy ``[K, D'']`` in memory.

        Raises:
            MapError: the map was changed.
        """
        frames = self.matching_frames
        if (self.integrity is None or self.manifest.stored != 'float32'
                or not isinstance(frames, np.memmap)):
            return frames[places]
        name = 'frames' if self.projected is None else 'projected'
        return self.integrity.read_rows(name, frames, places)

    def __len__(self) -> int:
        """Return the number of places."""
        return self.manifest.places

    def with_calibration(self, calibration: Calibration) -> 'PlaceMap':
        """Return the map with another calibration of the sequence search."""
        manifest = self.manifest.model_copy(update={'calibration': calibration})
        return replace(self, manifest=manifest)

    def with_filter_calibration(self, calibration: FilterCalibration) -> 'PlaceMap':
        """Return the map with another calibration of the place filter."""
        manifest = self.manifest.model_copy(update={'filter_calibration': calibration})
        return replace(self, manifest=manifest)

    @property
    def positions(self) -> np.ndarray:
        """Positions of the places, float64 ``[N, 3]``, meters."""
        return self.poses[:, :3]

    @cached_property
    def step_m(self) -> float:
        """Median distance between successive places, meters; 0 for one place."""
        return median_step(self.positions)

    @cached_property
    def position_tree(self) -> cKDTree:
        """The positions, to find the places near one."""
        return cKDTree(self.positions, balanced_tree=False, compact_nodes=False)

    @cached_property
    def mean_step_m(self) -> float:
        """Mean distance between successive places of unbroken stretches, meters."""
        return mean_step(self.positions, self.segment_starts)

    @cached_property
    def turns(self) -> np.ndarray | None:
        """How much the map turns on the way to each place, as `turns_per_meter` returns it."""
        return turns_per_meter(self.poses, self.segment_starts)

    @cached_property
    def scene_change(self) -> SceneChange:
        """How much successive views differ on the route, and views far apart."""
        return SceneChange.of_drive(self.matching_frames, self.segment_starts)

    @cached_property
    def sampled_frames(self) -> np.ndarray:
        """The frames of `spread_sample` of the places, in memory, float32 ``[J, D'']``.

        In a large map they are all over the disk, and the place filter needs them at once.
        """
        return self.read_frames(spread_sample(len(self)))

    @cached_property
    def _boundaries(self) -> np.ndarray:
        return np.append(np.flatnonzero(np.diff(self.segment_starts)) + 1, len(self))

    def stretches(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first place and one past the last place of the stretch of each ``[K]``."""
        ends = self._boundaries[np.searchsorted(self._boundaries, places, side='right')]
        return self.segment_starts[places], ends


def array_shapes(manifest: MapManifest) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type of the arrays of an open map by name."""
    count, dim = manifest.places, manifest.dim
    return {
        'frames': ((count, dim), 'float32'),
        'sequences': ((count, manifest.sequence_dim), 'float32'),
        'mean': ((dim,), 'float32'),
        'stamps_ns': ((count,), 'int64'),
        'poses': ((count, 7), 'float64'),
        'segment_starts': ((count,), 'int64'),
        'projected': ((count, manifest.matching_dim), 'float32'),
    }


def check_arrays(manifest: MapManifest, arrays: dict[str, np.ndarray]) -> None:
    """Check that the arrays of a map match its manifest.

    Raises:
        MapError: an array has another shape or type; the message names both.
    """
    expected = array_shapes(manifest)
    for name in array_names(manifest.model):
        check_array(name, arrays[name], *expected[name])
