"""Mapping: the counterpart of the localizer, images in, a calibrated map out."""

import logging
from array import array
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.images import View, image_from_compressed
from seqnet_ros.core.poses import check_pose, distance, make_pose
from seqnet_ros.core.scratch_arrays import GrowingRows
from seqnet_ros.descriptors.local_features import LocalFeatures
from seqnet_ros.maps.builder import build_map, extend_map, with_sequence_length
from seqnet_ros.maps.calibration import calibrate
from seqnet_ros.maps.completeness import Completeness, MissingImages, find_holes
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.map_reader import check_model
from seqnet_ros.maps.observation import Observation, Observer
from seqnet_ros.maps.place_map import FRAME_NUMBERS, PlaceMap
from seqnet_ros.maps.stored_values import Stored
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.keyframes import KeyframeGate, Spacing, Verdict, keyframe_settings

_logger = logging.getLogger(__name__)
_DEFAULT_METRES = '1m'
_DEFAULT_IMAGES = '1'


class Place(NamedTuple):
    """A place of a drive.

    Attributes:
        descriptor: ``[D]``, as the model's describer made it.
        stamp_ns: when it was seen.
        pose: its pose ``[7]``.
        segment_start: first place of its unbroken stretch.
    """

    descriptor: np.ndarray
    stamp_ns: int
    pose: np.ndarray
    segment_start: int


class Mapper:
    """Collects the keyframes of a drive and makes a map of them. Not thread-safe.

    With ``keyframes.every`` at 'auto' the spacing is one meter where the first image has a pose,
    else every image. Images without any pose are put one meter apart on a line. Where there are
    geometry settings, the local features of every place are kept.

    Args:
        model: describes the images.
        engine: the settings, which the map keeps as the defaults for localizing; None takes those
            of the model's file.
        extends: a map to which this drive is added as another session, with poses in its frame; its
            spacing is what 'auto' means then.
        keep_images: keep a small picture of every place.
        camera: the calibrated camera, where it is known; the first one of several.
        stored: type of the descriptors on disk; None takes that of the map to extend, else float32.

    Raises:
        MapModelMismatchError: the map to extend was made with another model.
        InputError: the map to extend stores different data of its places.
    """

    def __init__(self, model: PlaceModel, engine: EngineConfig | None = None,
                 extends: PlaceMap | None = None, *, keep_images: bool = False,
                 camera: CameraModel | None = None, stored: Stored | None = None) -> None:
        if extends is not None:
            check_model(extends.manifest, model, 'the map to extend')
        self._extends = extends
        self._stored: Stored = stored or (
            'float32' if extends is None else extends.manifest.stored)
        self.model = model
        self.engine = engine or model.engine
        self._observer = Observer(model, self.engine.geometry, keep_images, camera)
        self._keep_images = keep_images
        self._features: list[LocalFeatures] = []
        self._jpegs: list[bytes] = []
        self._gate: KeyframeGate | None = None
        self._spacing: Spacing | None = None
        self._descriptors = GrowingRows()
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []
        self._segment_starts: list[int] = []
        self._posed = False
        self._broken = False
        self._seen = MissingImages(self.engine.keyframes.max_gap_s)
        self._known_missing = 0
        self._steps_m = array('d')

    def use_settings(self, engine: EngineConfig) -> None:
        """Use other settings from the next image on; arguments as in the constructor.

        Raises:
            InputError: the spacing is in meters, but the images have no poses; nothing
                changes.
        """
        if self._gate is not None:
            self._spacing = self._choose_spacing(engine.keyframes.every, self._posed)
            self._gate.use(keyframe_settings(engine, self._spacing), self._spacing, None)
        self.engine = engine

    @property
    def camera(self) -> CameraModel | None:
        """The calibrated camera, where it is known."""
        return self._observer.camera

    @camera.setter
    def camera(self, camera: CameraModel | None) -> None:
        self._observer.camera = camera

    @property
    def extends(self) -> PlaceMap | None:
        """The map to which this drive is added."""
        return self._extends

    def extend(self, place_map: PlaceMap) -> None:
        """Add this drive to another map than before, such as a newer version of it.

        Raises:
            MapModelMismatchError: it was made with another model.
        """
        check_model(place_map.manifest, self.model, 'the map to extend')
        self._extends = place_map

    def __len__(self) -> int:
        """Return the number of places so far."""
        return len(self._stamps)

    @property
    def late_images(self) -> int:
        """Number of images left out because they are stamped before the newest one."""
        return 0 if self._gate is None else self._gate.late

    def push(self, image: View, stamp_ns: int, pose: np.ndarray | None = None) -> bool:
        """Process an RGB uint8 ``[H, W, 3]`` image; return whether it became a place.

        Args:
            image: the image.
            stamp_ns: acquisition time.
            pose: pose ``[7]`` in the map frame, meters.

        Raises:
            InputError: the image or pose cannot be used, or only some images have a pose; the
                places so far are kept.
        """
        return self.push_lazily(lambda: image, stamp_ns, pose)

    def push_lazily(self, read: Callable[[], View], stamp_ns: int,
                    pose: np.ndarray | None = None) -> bool:
        """Process an image that is decoded only if it is needed; otherwise as `push`."""
        return self.offer(read, stamp_ns, pose) is Verdict.KEYFRAME

    def offer(self, read: Callable[[], View], stamp_ns: int,
              pose: np.ndarray | None = None) -> Verdict:
        """Process an image as `push_lazily` does, and return the decision on it."""
        return self.offer_observation(lambda: self._observer.observe(read()), stamp_ns, pose)

    def offer_observation(self, observe: Callable[[], Observation], stamp_ns: int,
                          pose: np.ndarray | None = None) -> Verdict:
        """Process an image that is observed only if it is needed; otherwise as `offer`."""
        pose = None if pose is None else check_pose(pose)
        if self._gate is None:
            self._start(pose is not None)
        assert self._gate is not None
        if (pose is not None) != self._posed:
            found, before = ('a', 'none') if pose is not None else ('no', 'one')
            raise InputError(f'an image has {found} pose although the first had {before}, '
                             'expected a pose for every image or for none')
        self._seen.add(stamp_ns)
        broken = self._gate.interrupted(stamp_ns, pose)
        if broken is not None and self._stamps:
            self._broken = True
            _logger.info('a new stretch of the map begins: %s', broken)
        seen: Observation | None = None

        def describe() -> np.ndarray:
            nonlocal seen
            seen = observe()
            return seen.descriptor

        verdict, _ = self._gate.consider(stamp_ns, pose, describe)
        if verdict is Verdict.KEYFRAME:
            assert seen is not None
            self._keep(seen)
            self._add(seen.descriptor, stamp_ns, pose)
        return verdict

    def note_missing(self, images: int) -> None:
        """Note how many images are known to be missing, where stamps may not show it."""
        self._known_missing = images

    @property
    def completeness(self) -> Completeness:
        """Missing images and holes of the drive so far."""
        spacing = self._spacing
        holes, longest_m = find_holes(
            np.array(self._steps_m),
            spacing.value if spacing is not None and spacing.unit == 'm' else 0.0)
        return Completeness(
            images=self._seen.images, missing=max(self._seen.missing, self._known_missing),
            holes=holes, longest_hole_m=longest_m)

    @property
    def posed(self) -> bool:
        """Whether the images have poses."""
        return self._posed

    def __getitem__(self, place: int) -> Place:
        """Return a place; -1 is the newest."""
        return Place(self._descriptors[place], self._stamps[place], self._poses[place],
                     self._segment_starts[place])

    def features(self, place: int) -> LocalFeatures:
        """Return the local features of a place; there must be geometry settings."""
        return self._features[place]

    def picture(self, place: int) -> np.ndarray | None:
        """Return the picture of a place, RGB uint8 ``[H, W, 3]``; None where none are kept."""
        return image_from_compressed(self._jpegs[place], 'jpeg') if self._keep_images else None

    def _start(self, posed: bool) -> None:
        if self._extends is not None:
            extended = self._extends.manifest
            if posed != extended.has_poses:
                raise InputError(
                    f"the map to extend has {'' if extended.has_poses else 'no '}poses, but the "
                    f"first image has {'one' if posed else 'none'}")
        self._spacing = self.spacing_of(posed)
        self._posed = posed
        self._gate = KeyframeGate(keyframe_settings(self.engine, self._spacing), self._spacing)

    def spacing_of(self, posed: bool) -> Spacing:
        """Return the spacing of the places of images with poses, or without.

        Raises:
            InputError: the spacing is in meters, but the images have no poses.
        """
        return self._choose_spacing(self.engine.keyframes.every, posed)

    def _choose_spacing(self, every: str, posed: bool) -> Spacing:
        if every == 'auto' and self._extends is not None:
            every = self._extends.manifest.spacing
        if every == 'auto':
            every = _DEFAULT_METRES if posed else _DEFAULT_IMAGES
        spacing = Spacing.parse(every)
        if spacing.unit == 'm' and not posed:
            raise InputError(f'a spacing of {every} needs poses, but the first image has none: '
                             "give poses, or a spacing in seconds ('0.5s') or images ('1')")
        return spacing

    def _keep(self, seen: Observation) -> None:
        """Keep the local features and the picture of an image, as far as the map needs them."""
        if seen.features is not None:
            self._features.append(seen.features())
        if seen.jpeg is not None:
            self._jpegs.append(seen.jpeg())

    def _add(self, descriptor: np.ndarray, stamp_ns: int, pose: np.ndarray | None) -> None:
        number = len(self._stamps)
        start = number if self._broken or not number else self._segment_starts[-1]
        self._broken = False
        if number and pose is not None and stamp_ns > self._stamps[-1]:
            self._steps_m.append(distance(pose, self._poses[-1]))  # else another recording begins
        self._descriptors.append(descriptor)
        self._stamps.append(stamp_ns)
        self._poses.append(make_pose(float(number), 0.0) if pose is None else pose)
        self._segment_starts.append(start)

    def finish(self, source: str = '', pose_origin: str = '', *,
               poses: np.ndarray | None = None, datum: GeoPoint | None = None,
               alone: bool = False) -> PlaceMap:
        """Make a map of the places so far; mapping can continue afterward.

        Args:
            source: name of the recording.
            pose_origin: where the poses come from.
            poses: poses of the places on the map, float64 ``[N, 7]``, meters, as where the drive
                was aligned with the map to extend; None for those of the images.
            datum: where on the earth the frame of the poses begins.
            alone: leave out the map to extend.

        Raises:
            InputError: no image became a place.
        """
        if not self._stamps:
            raise InputError('no image became a place, expected at least one image')
        place_map = build_map(
            self.model, self._descriptors.array, self._stamps,
            np.stack(self._poses) if poses is None else poses,
            self._segment_starts, str(self._spacing), source,
            pose_origin if self._posed else FRAME_NUMBERS, engine=self.engine,
            features=self._collected_features(), camera=self.camera,
            stored=self._stored,
            images=KeyframeImages.collect(self._jpegs) if self._keep_images else None,
            completeness=self.completeness, datum=datum)
        if self._extends is not None and not alone:
            extended = with_sequence_length(
                self._extends, self.model, self.engine.sequence.length)
            place_map = extend_map(extended, place_map)
        place_map = place_map.with_filter_calibration(
            calibrate_filter(place_map, self.engine.filter))
        return place_map.with_calibration(
            calibrate(self.model, place_map, self.engine.matching))

    def _collected_features(self) -> KeyframeFeatures | None:
        geometry = self.engine.geometry
        return None if geometry is None else KeyframeFeatures.collect(
            self._features, geometry.features)
