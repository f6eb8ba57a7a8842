"""Mapping: the counterpart of the localizer, images in, a calibrated map out."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from seqnet_ros.camera import CameraModel
from seqnet_ros.config import ModelConfig
from seqnet_ros.descriptors.local_features import LocalFeatureExtractor, LocalFeatures
from seqnet_ros.errors import InputError
from seqnet_ros.maps.builder import build_map
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages, make_thumbnail
from seqnet_ros.maps.place_map import FRAME_NUMBERS, PlaceMap
from seqnet_ros.matching.calibration import calibrate
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.poses import check_pose, make_pose
from seqnet_ros.sequences.keyframes import KeyframeGate, Spacing, Verdict

_logger = logging.getLogger(__name__)
_DEFAULT_METRES = '1m'
_DEFAULT_IMAGES = '1'


class Mapper:
    """Collects the keyframes of a drive and makes a map of them. Not thread-safe.

    With ``keyframes.every`` at 'auto' the spacing is one metre where the first image has a pose,
    else every image. Images without any pose are put one metre apart on a line. Where the model has
    geometry settings, the local features of every place are kept.
    """

    def __init__(self, model: PlaceModel, settings: ModelConfig | None = None, *,
                 keep_images: bool = False, camera: CameraModel | None = None) -> None:
        """Map with a model, and settings that replace those of the model's file.

        Of the settings only sequence length, keyframes, matching, acceptance and geometry are
        looked at; they become the map's.

        Args:
            model: the model to map with.
            settings: settings to use in place of those of the model's file.
            keep_images: keep a small picture of every place.
            camera: the calibrated camera, where it is known.
        """
        self.model = model if settings is None else _with_settings(model, settings)
        self.camera = camera
        geometry = self.model.config.geometry
        self._extractor = None if geometry is None else LocalFeatureExtractor(geometry)
        self._keep_images = keep_images
        self._features: list[LocalFeatures] = []
        self._jpegs: list[bytes] = []
        self._gate: KeyframeGate | None = None
        self._spacing: Spacing | None = None
        self._descriptors: list[np.ndarray] = []
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []
        self._segment_starts: list[int] = []
        self._posed = False
        self._broken = False

    def __len__(self) -> int:
        """Return the number of places so far."""
        return len(self._stamps)

    def push(self, image: np.ndarray, stamp_ns: int, pose: np.ndarray | None = None) -> bool:
        """Take in one RGB uint8 ``[H, W, 3]`` image; return whether it became a place.

        Args:
            image: the image.
            stamp_ns: acquisition time.
            pose: pose ``[7]`` in the map frame, metres.

        Raises:
            InputError: the image or pose cannot be used, or only some images have a pose; what
                was collected so far is unharmed.
        """
        return self.push_lazily(lambda: image, stamp_ns, pose)

    def push_lazily(self, read: Callable[[], np.ndarray], stamp_ns: int,
                    pose: np.ndarray | None = None) -> bool:
        """Take in one image that is decoded only if it counts; otherwise as `push`."""
        pose = None if pose is None else check_pose(pose)
        if self._gate is None:
            self._start(pose is not None)
        assert self._gate is not None
        if (pose is not None) != self._posed:
            found, before = ('a', 'none') if pose is not None else ('no', 'one')
            raise InputError(f'an image has {found} pose although the first had {before}, '
                             'expected a pose for every image or for none')
        broken = self._gate.interrupted(stamp_ns, pose)
        if broken is not None and self._stamps:
            self._broken = True
            _logger.info('a new stretch of the map begins: %s', broken)
        verdict = self._gate.before_describing(stamp_ns, pose)
        if verdict in (Verdict.BETWEEN, Verdict.STATIONARY):
            return False
        image = read()
        descriptor = self.model.describer.describe([image])[0]
        if verdict is None and self._gate.by_descriptor(descriptor) is not Verdict.KEYFRAME:
            return False
        self._keep(image)
        self._gate.admit(stamp_ns, pose, descriptor)
        self._add(descriptor, stamp_ns, pose)
        return True

    def _start(self, posed: bool) -> None:
        every = self.model.config.keyframes.every
        if every == 'auto':
            every = _DEFAULT_METRES if posed else _DEFAULT_IMAGES
        self._spacing = Spacing.parse(every)
        if self._spacing.unit == 'm' and not posed:
            raise InputError(f'a spacing of {every} needs poses, but the first image has none: '
                             "give poses, or a spacing in seconds ('0.5s') or images ('1')")
        self._posed = posed
        self._gate = KeyframeGate(self.model.config.keyframes, self._spacing)

    def _keep(self, image: np.ndarray) -> None:
        """Keep what the map is to hold of an image; if one of them cannot be made, neither is."""
        if self.camera is not None:
            self.camera.for_image(image.shape[1], image.shape[0])
        features = None if self._extractor is None else self._extractor.extract(image)
        if self._keep_images:
            self._jpegs.append(make_thumbnail(image))
        if features is not None:
            self._features.append(features)

    def _add(self, descriptor: np.ndarray, stamp_ns: int, pose: np.ndarray | None) -> None:
        number = len(self._stamps)
        start = number if self._broken or not number else self._segment_starts[-1]
        self._broken = False
        self._descriptors.append(descriptor)
        self._stamps.append(stamp_ns)
        self._poses.append(make_pose(float(number), 0.0) if pose is None else pose)
        self._segment_starts.append(start)

    def finish(self, source: str = '', pose_origin: str = '') -> PlaceMap:
        """Make the map of what was collected; more images may follow and a later map.

        Raises:
            InputError: no image became a place.
        """
        if not self._stamps:
            raise InputError('no image became a place, expected at least one image')
        place_map = build_map(
            self.model, np.stack(self._descriptors), self._stamps, np.stack(self._poses),
            self._segment_starts, str(self._spacing), source,
            pose_origin if self._posed else FRAME_NUMBERS,
            features=self._collected_features(), camera=self.camera,
            images=KeyframeImages.collect(self._jpegs) if self._keep_images else None)
        return place_map.with_calibration(
            calibrate(self.model, place_map, self.model.config.matching))

    def _collected_features(self) -> KeyframeFeatures | None:
        geometry = self.model.config.geometry
        return None if geometry is None else KeyframeFeatures.collect(
            self._features, geometry.features)


def _with_settings(model: PlaceModel, settings: ModelConfig) -> PlaceModel:
    """Return the model with other settings, but for what its descriptors depend on."""
    sequence = model.config.sequence.model_copy(update={'length': settings.sequence.length})
    config = model.config.model_copy(update={
        'sequence': sequence, 'keyframes': settings.keyframes, 'matching': settings.matching,
        'acceptance': settings.acceptance, 'geometry': settings.geometry})
    return replace(model, config=config)
