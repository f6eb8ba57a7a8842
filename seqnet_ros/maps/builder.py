"""From the descriptors of a drive to a map of places."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError, MapModelMismatchError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.poses import travelled_distance
from seqnet_ros.core.scratch_arrays import joined_rows, row_blocks, scratch_array
from seqnet_ros.maps.completeness import Completeness
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.index import build_index
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.place_map import FeatureRecord, MapManifest, PlaceMap, format_of
from seqnet_ros.maps.stored_values import Stored, round_in_place
from seqnet_ros.maps.views import select_views
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.aggregators import aggregate, describe_frames
from seqnet_ros.sequences.windows import trailing_windows

_SAMPLED_STEPS = 100_000


def build_map(
    model: PlaceModel, descriptors: np.ndarray, stamps_ns: Sequence[int], poses: np.ndarray,
    segment_starts: Sequence[int], spacing: str, source: str = '', pose_origin: str = '',
    *, engine: EngineConfig | None = None, features: KeyframeFeatures | None = None,
    images: KeyframeImages | None = None, camera: CameraModel | None = None,
    completeness: Completeness | None = None, datum: GeoPoint | None = None,
    stored: Stored = 'float32',
) -> PlaceMap:
    """Make a map, not yet calibrated, from the keyframes of one drive.

    Args:
        model: the model that made the descriptors.
        descriptors: float32 ``[N, D]``, frame descriptors as the model's describer made them.
        stamps_ns: N stamps.
        poses: float64 ``[N, 7]``, meters.
        segment_starts: for every keyframe the first keyframe of its unbroken stretch.
        spacing: spacing of the keyframes, for the record and for localizing.
        source: name of the recording.
        pose_origin: where the poses come from.
        engine: the settings; None takes those of the model's file.
        features: local features of the keyframes, made with the geometry settings.
        images: pictures of the keyframes.
        camera: the calibrated camera of the drive.
        completeness: how complete the drive is: missing images and holes.
        datum: where on the earth the frame of the poses begins.
        stored: type of the descriptors on disk, to which they are rounded.

    Raises:
        InputError: there is no keyframe, a value is not finite, or there are features without
            geometry settings.
    """
    descriptors = np.asarray(descriptors, dtype=np.float32)
    if len(descriptors) == 0:
        raise InputError('the drive has no keyframe, expected at least one to make a map')
    for block in row_blocks(descriptors):
        finite = np.isfinite(descriptors[block]).all(axis=1)
        if not finite.all():
            raise InputError(
                f'frame descriptor {block.start + int(finite.argmin())} is not finite')
    config, engine = model.config, engine or model.engine
    record = None
    if features is not None:
        if engine.geometry is None:
            raise InputError(f'model {config.name} has no geometry settings, expected them with '
                             'local features')
        record = FeatureRecord.of(engine.geometry)
    mean = descriptors.mean(axis=0) if config.centring else np.zeros_like(descriptors[0])
    frames = scratch_array(descriptors.shape)
    for block in row_blocks(descriptors):
        frames[block] = model.prepare(descriptors[block], mean if config.centring else None)
    round_in_place(frames, stored, config.normalises_frames)
    starts = np.asarray(segment_starts, dtype=np.int64)
    windows = trailing_windows(starts, engine.sequence.length)
    sequences = aggregate(model.aggregator, frames, windows)
    round_in_place(sequences, stored, False)
    projected = None if model.projection is None else describe_frames(model.projection, frames)
    if projected is not None:
        round_in_place(projected, stored, True)
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    poses = np.asarray(poses, dtype=np.float64)
    map_id = _map_id(model.fingerprint, {
        'frames': frames, 'stamps_ns': stamps, 'poses': poses, 'segment_starts': starts})
    steps = [float(np.linalg.norm(after - before))
             for before, after in pairwise(descriptors[:_SAMPLED_STEPS])]
    manifest = MapManifest(
        format_version=format_of(config, images is not None or camera is not None
                                 or engine.geometry is not None, stored),
        map_id=map_id, model=config, engine=engine, fingerprint=model.fingerprint,
        places=len(frames), dim=frames.shape[1], sequence_dim=sequences.shape[1],
        sequence_length=engine.sequence.length, spacing=spacing,
        usual_change=float(np.median(steps)) if steps else 0.0,
        route_length_m=travelled_distance(poses), source=source, pose_origin=pose_origin,
        features=record, images=images is not None, stored=stored,
        camera=None if camera is None else camera.to_document(), completeness=completeness,
        datum=Datum.of(datum))
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
    round_in_place(sequences, place_map.manifest.stored, False)
    manifest = place_map.manifest.model_copy(update={
        'sequence_length': length, 'sequence_dim': sequences.shape[1], 'calibration': None})
    return replace(
        place_map, manifest=manifest, sequences=sequences, index=build_index(sequences))


def extend_map(place_map: PlaceMap, session: PlaceMap) -> PlaceMap:
    """Return the combined map, not yet calibrated: places of the map, then of the session.

    Each drive keeps its own mean; the mean of the map is weighted by the number of places.

    Args:
        place_map: the existing map.
        session: a map of another drive, its poses in the same frame.

    Raises:
        MapModelMismatchError: the two were made with different models.
        InputError: only one of them has poses, their sequences differ in length, or they store
            different data of their places.
    """
    first, second = place_map.manifest, session.manifest
    if first.fingerprint != second.fingerprint:
        raise MapModelMismatchError(
            f'the map was made with model {first.model.name!r} ({first.fingerprint[:8]}), but the '
            f'session with {second.model.name!r} ({second.fingerprint[:8]})')
    if first.has_poses != second.has_poses:
        with_poses = 'map' if first.has_poses else 'session'
        raise InputError(f'only the {with_poses} has poses: the places of both must be in one '
                         'frame')
    if first.sequence_length != second.sequence_length:
        raise InputError(f'the map has sequences of {first.sequence_length} frames, the session of '
                         f'{second.sequence_length}')
    for what in ('features', 'images', 'camera', 'stored'):
        if getattr(first, what) != getattr(second, what):
            raise InputError(f'the map and the session differ in {what}: found '
                             f'{getattr(first, what)} and {getattr(second, what)}')
    datum = first.geo_datum
    if second.datum is not None and second.datum.point != datum:
        where = 'elsewhere' if datum is None else f'at {datum}'
        raise InputError(f'the frame of the session begins at {second.datum.point}, that of the '
                         f'map {where}: the places of both must be in one frame')
    offset = np.zeros(7)
    if not first.has_poses:  # frame numbers continue, as meters
        offset[0] = len(place_map)
    joined: dict[str, Any] = {
        'frames': joined_rows(place_map.frames, session.frames),
        'sequences': joined_rows(place_map.sequences, session.sequences),
        'mean': np.average([place_map.mean, session.mean], axis=0,
                           weights=[len(place_map), len(session)]).astype(np.float32),
        'stamps_ns': np.concatenate([place_map.stamps_ns, session.stamps_ns]),
        'poses': np.concatenate([place_map.poses, session.poses + offset]),
        'segment_starts': np.concatenate(
            [place_map.segment_starts, session.segment_starts + len(place_map)])}
    projected = None
    if place_map.projected is not None and session.projected is not None:
        projected = joined_rows(place_map.projected, session.projected)
    manifest = second.model_copy(update={
        'map_id': _map_id(first.fingerprint, joined), 'places': len(joined['frames']),
        'route_length_m': first.route_length_m + second.route_length_m,
        'source': f'{first.source} + {second.source}', 'calibration': None,
        'pose_origin': first.pose_origin, 'datum': first.datum,
        'views': first.views,  # those of the session are not known yet
        'completeness': _join(first.completeness, second.completeness)})
    features = images = None
    if place_map.features is not None and session.features is not None:
        features = place_map.features.joined(session.features)
    if place_map.images is not None and session.images is not None:
        images = place_map.images.joined(session.images)
    return PlaceMap(manifest, index=build_index(joined['sequences']), projected=projected,
                    features=features, images=images, **joined)


def select_places(place_map: PlaceMap, places: np.ndarray,
                  model: PlaceModel | None = None) -> PlaceMap:
    """Return the map of some places of another, not yet calibrated.

    How sure the place filter must be is taken over: a part has fewer places to measure it with.

    Args:
        place_map: the map.
        places: int ``[K]``, ascending; a gap between them ends a stretch.
        model: describes the sequences anew, so that none begins before a gap; None keeps those of
            the map.
    """
    before = place_map.segment_starts[places]
    begins = np.ones(len(places), bool)
    begins[1:] = (np.diff(places) != 1) | (before[1:] != before[:-1])
    starts = np.maximum.accumulate(np.where(begins, np.arange(len(places)), 0))
    manifest, frames = place_map.manifest, _rows(place_map.frames, places)
    if model is None:
        sequences = _rows(place_map.sequences, places)
    else:
        sequences = aggregate(
            model.aggregator, frames, trailing_windows(starts, manifest.sequence_length))
        round_in_place(sequences, manifest.stored, False)
    arrays: dict[str, Any] = {
        'frames': frames, 'sequences': sequences, 'stamps_ns': place_map.stamps_ns[places],
        'poses': place_map.poses[places], 'segment_starts': starts}
    steps = np.linalg.norm(np.diff(arrays['poses'][:, :3], axis=0), axis=1)
    manifest = manifest.model_copy(update={
        'map_id': _map_id(manifest.fingerprint, arrays), 'places': len(places),
        'route_length_m': float(steps[~begins[1:]].sum()), 'calibration': None,
        'views': select_views(manifest.views, places), 'completeness': None})
    return PlaceMap(
        manifest, mean=place_map.mean, index=build_index(arrays['sequences']),
        projected=None if place_map.projected is None else _rows(place_map.projected, places),
        features=None if place_map.features is None else place_map.features.of_places(places),
        images=None if place_map.images is None else place_map.images.of_places(places), **arrays)


def _rows(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return rows of an array ``[N, D]``, in a temporary file where they are many."""
    rows = scratch_array((len(places), *array.shape[1:]), array.dtype)
    for block in row_blocks(rows):
        rows[block] = array[places[block]]
    return rows


def _join(first: Completeness | None, second: Completeness | None) -> Completeness | None:
    return first.joined(second) if first is not None and second is not None else first or second


def _map_id(fingerprint: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(fingerprint.encode())
    for name in ('frames', 'stamps_ns', 'poses', 'segment_starts'):
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]
