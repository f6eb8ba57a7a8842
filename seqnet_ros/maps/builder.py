"""From the descriptors of a drive to a map of places."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from seqnet_ros.camera import CameraModel
from seqnet_ros.errors import InputError
from seqnet_ros.maps.index import build_index
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.place_map import FeatureRecord, MapManifest, PlaceMap, format_of
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.poses import travelled_distance
from seqnet_ros.sequences.aggregators import aggregate, describe_frames
from seqnet_ros.sequences.windows import trailing_windows

_SAMPLED_STEPS = 100_000


def build_map(
    model: PlaceModel, descriptors: np.ndarray, stamps_ns: Sequence[int], poses: np.ndarray,
    segment_starts: Sequence[int], spacing: str, source: str = '', pose_origin: str = '',
    *, features: KeyframeFeatures | None = None, images: KeyframeImages | None = None,
    camera: CameraModel | None = None,
) -> PlaceMap:
    """Make a map, not yet calibrated, from the keyframes of one drive.

    Args:
        model: the model that made the descriptors.
        descriptors: float32 ``[N, D]``, frame descriptors as the model's describer made them.
        stamps_ns: N stamps.
        poses: float64 ``[N, 7]``, metres.
        segment_starts: for every keyframe the first keyframe of its unbroken stretch.
        spacing: spacing of the keyframes, for the record and for localising.
        source: name of the recording.
        pose_origin: where the poses come from.
        features: local features of the keyframes, made with the model's geometry settings.
        images: pictures of the keyframes.
        camera: the calibrated camera of the drive.

    Raises:
        InputError: there is no keyframe, a value is not finite, or there are features that no
            settings of the model speak of.
    """
    descriptors = np.asarray(descriptors, dtype=np.float32)
    if len(descriptors) == 0:
        raise InputError('the drive has no keyframe, expected at least one to make a map')
    if not np.isfinite(descriptors).all():
        raise InputError('a frame descriptor is not finite')
    config = model.config
    record = None
    if features is not None:
        if config.geometry is None:
            raise InputError(f'model {config.name} has no geometry settings, expected them with '
                             'local features')
        record = FeatureRecord.of(config.geometry)
    mean = descriptors.mean(axis=0) if config.centring else np.zeros_like(descriptors[0])
    frames = model.prepare(descriptors, mean if config.centring else None)
    starts = np.asarray(segment_starts, dtype=np.int64)
    windows = trailing_windows(starts, config.sequence.length)
    sequences = aggregate(model.aggregator, frames, windows)
    projected = None if model.projection is None else describe_frames(model.projection, frames)
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    poses = np.asarray(poses, dtype=np.float64)
    digest = hashlib.sha256(model.fingerprint.encode())
    for array in (frames, stamps, poses, starts):
        digest.update(np.ascontiguousarray(array).tobytes())
    steps = [float(np.linalg.norm(after - before))
             for before, after in pairwise(descriptors[:_SAMPLED_STEPS])]
    manifest = MapManifest(
        format_version=format_of(config, images is not None or camera is not None),
        map_id=digest.hexdigest()[:16], model=config, fingerprint=model.fingerprint,
        places=len(frames), dim=frames.shape[1], sequence_dim=sequences.shape[1],
        sequence_length=config.sequence.length, spacing=spacing,
        usual_change=float(np.median(steps)) if steps else 0.0,
        route_length_m=travelled_distance(poses), source=source, pose_origin=pose_origin,
        features=record, images=images is not None,
        camera=None if camera is None else camera.to_document())
    return PlaceMap(manifest, frames, sequences, mean, stamps, poses, starts,
                    build_index(sequences), projected, features, images)


def with_sequence_length(place_map: PlaceMap, model: PlaceModel, length: int) -> PlaceMap:
    """Return the map for sequences of another length; the calibration is dropped.

    Costs one pass over the map. A map built with that length opens at once.
    """
    if length == place_map.manifest.sequence_length:
        return place_map
    windows = trailing_windows(place_map.segment_starts, length)
    sequences = aggregate(model.aggregator, place_map.frames, windows)
    manifest = place_map.manifest.model_copy(update={
        'sequence_length': length, 'sequence_dim': sequences.shape[1], 'calibration': None})
    return replace(
        place_map, manifest=manifest, sequences=sequences, index=build_index(sequences))
