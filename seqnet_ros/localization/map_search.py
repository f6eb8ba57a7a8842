"""One map, ready to be searched with given settings."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.model import AGGREGATORS
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.localization.acceptance.acceptance import Acceptance, list_candidates
from seqnet_ros.localization.acceptance.rule import Match, RuleContext
from seqnet_ros.localization.geometry.geometric_check import GeometricCheck
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.builder import with_sequence_length
from seqnet_ros.maps.calibration import calibrate
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.map_reader import check_model
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.search.hierarchical_search import HierarchicalSearch, Ranking
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.centring import RunningMean
from seqnet_ros.sequences.windows import trailing_windows


def prepare_map(place_map: PlaceMap, model: PlaceModel, engine: EngineConfig) -> PlaceMap:
    """Return a map with sequences and calibration as settings need them.

    Costs nothing where the map was made with these settings, else a pass over it.

    Raises:
        MapModelMismatchError: it was made with another model.
        InputError: the model cannot describe sequences of this length.
    """
    check_model(place_map.manifest, model, 'the map')
    prepared = with_sequence_length(place_map, model, engine.sequence.length)
    calibration = prepared.manifest.calibration
    if calibration is None or calibration.matching != engine.matching:
        prepared = prepared.with_calibration(calibrate(model, prepared, engine.matching))
    known = prepared.manifest.filter_calibration
    if engine.localization.method == 'filter' and (
            known is None or known.settings != engine.filter):
        prepared = prepared.with_filter_calibration(calibrate_filter(prepared, engine.filter))
    return prepared


class MapSearch:
    """Searches a map for the sequences of a drive, and judges what it finds.

    Args:
        model: the model the map was made with.
        place_map: as `prepare_map` returned it for these settings.
        engine: the settings.
        camera: the calibrated camera of the images, where it is known.
        overlapping: other maps that are searched may show the same places.

    Raises:
        MapError: the map lacks data for the requested geometric check.
    """

    def __init__(self, model: PlaceModel, place_map: PlaceMap, engine: EngineConfig,
                 camera: CameraModel | None = None, *, overlapping: bool = False) -> None:
        assert place_map.manifest.calibration is not None
        self.map = place_map
        self._model = model
        self._reach = round(engine.sequence.length * engine.matching.max_speed)
        self._search = HierarchicalSearch(model, place_map, engine.matching)
        self.geometry = None if engine.geometry is None else GeometricCheck.of_map(
            engine.geometry, camera, place_map)
        self.acceptance = Acceptance(
            RuleContext(engine, place_map, self.geometry, overlapping=overlapping),
            place_map.manifest.calibration)
        self.mean = RunningMean(place_map.mean) if model.config.centring else None
        self.merge_m = engine.matching.merge_frames * place_map.step_m
        """Places this near in space are one place, meters."""

    def go_on_from(self, other: 'MapSearch') -> None:
        """Remember what a search of the same map learned with other settings."""
        self.mean = other.mean
        self.acceptance.go_on_from(other.acceptance)

    @property
    def map_id(self) -> str:
        """Id of the map."""
        return self.map.manifest.map_id

    def check_image(self, image: np.ndarray) -> None:
        """Refuse an image that the geometric check could not use later on.

        Raises:
            InputError: its size does not go with the calibration of the camera.
        """
        if self.geometry is not None:
            self.geometry.check_image(image)

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame ``[D]`` as it is compared with the places, float32 ``[D]``."""
        mean = None if self.mean is None else self.mean.value
        return self._model.prepare(frame[None], mean)[0]

    def move_mean(self, frame: np.ndarray) -> None:
        """Take a frame ``[D]`` into the mean of the drive, of models that center frames."""
        if self.mean is not None:
            self.mean.add(frame)

    def compare(self, frame: np.ndarray, projected: np.ndarray) -> np.ndarray:
        """Return a frame ``[D]`` as the filter compares it, float32 ``[D'']``.

        Args:
            frame: as the model's describer made it.
            projected: the same by the model's projection, returned where the model has one.
        """
        return self.prepare(frame) if self._model.projection is None else projected

    @property
    def has_trained_sequences(self) -> bool:
        """Whether the aggregator is trained, so that sequence descriptors are further evidence."""
        return AGGREGATORS.get(self._model.config.sequence.aggregator).trained

    def describe_sequence(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Return the descriptor of a window, float32 ``[D']``.

        Args:
            frames: descriptors ``[D]``, oldest first; of fewer than L the first counts repeatedly.
        """
        mean = None if self.mean is None else self.mean.value
        length = self.map.manifest.sequence_length
        padded = [*frames[:1]] * (length - len(frames)) + list(frames[-length:])
        window = self._model.prepare(np.stack(padded), mean)
        return aggregate(self._model.aggregator, window, np.arange(length)[None])[0]

    def describe_sequences(self, frames: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
        """Return the descriptors of the windows that end at successive keyframes, ``[W, D']``.

        Args:
            frames: descriptors ``[W, D]``, oldest first, as the model's describer made them.
            mean: what to subtract from them ``[D]``, of models that center frames.
        """
        windows = trailing_windows(
            np.zeros(len(frames), np.int64), self.map.manifest.sequence_length)
        return aggregate(self._model.aggregator, self._model.prepare(frames, mean), windows)

    def rank(self, frames: Sequence[np.ndarray], projected: np.ndarray | None,
             described: np.ndarray | None) -> Ranking:
        """Rank the places for a window.

        Args:
            frames: L descriptors ``[D]``, oldest first, as the model's describer made them.
            projected: float32 ``[L, D'']``, as the model's projection describes them, where it has
                one.
            described: float32 ``[D']``, the sequence descriptor, where that is known.
        """
        mean = None if self.mean is None else self.mean.value
        window = self._model.prepare(np.stack(frames), mean)
        return self._search.search(
            window, self.acceptance.expected_speed, projected=projected, described=described)

    def judge(self, ranking: Ranking, keyframe: int) -> Reason:
        """Decide whether the best place is accepted; call this for every searched keyframe.

        Raises:
            MapError: the map was changed meanwhile, or an accepted place of it is damaged.
        """
        reason = self.acceptance.judge(ranking, keyframe)
        if reason is Reason.ACCEPTED:
            for place in ranking.places[:2].tolist():
                self.verify(place)
        self.map.check_unchanged()
        return reason

    def confirm(self, match: Match, image: np.ndarray) -> Reason:
        """Apply the remaining rules to a match that `judge` accepted.

        Args:
            match: the match; the rules add their findings to its candidates.
            image: the newest image of the sequence, RGB uint8 ``[H, W, 3]``.
        """
        if self.geometry is not None:
            match.features = partial(self.geometry.extract, image)
        return self.acceptance.confirm(match)

    def verify(self, place: int) -> None:
        """Verify the frames around a place that decides, on disk.

        Raises:
            MapError: one of them is damaged.
        """
        first, end = self.map.stretches(np.array([place]))
        self.map.verify_places(max(place - self._reach, int(first[0])),
                               min(place + self._reach + 1, int(end[0])))

    def candidates(self, ranking: Ranking, most: int) -> tuple[Candidate, ...]:
        """Return the best places of a ranking."""
        return list_candidates(
            ranking, most, self.acceptance.score,
            lambda place: (int(self.map.stamps_ns[place]), self.map.poses[place]), self.map_id)
