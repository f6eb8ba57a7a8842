"""The engine for a collection: it follows the robot from tile to tile."""

import logging
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.images import View
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.localization.tile_choice import Choice, among_ranked, around
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.collection.prior import Prior, tiles_within
from seqnet_ros.maps.collection.summary import STRETCH
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel

_logger = logging.getLogger(__name__)

MOST_STRETCHES = 8
"""Rows of the summary that a drive is compared by, at most."""
_FEWEST_KEYFRAMES = 4
"""Keyframes before the tiles are ranked for the first time."""
_RELEASED_EVERY = 16
"""Keyframes after which the memory that reading tiles has taken is let go."""
_SWITCHED_AFTER = 3
"""Successive accepted matches in another tile after which the robot is there."""


class CollectionLocalizer(Localizer):
    """Finds the place of a robot in the tiles of a collection, one image at a time.

    Used as `Localizer`. A few tiles are searched at a time: those around the robot while it is
    followed; those that priors leave, where there are any; else those that the summary of the
    collection ranks first for the last keyframes. Not thread-safe.

    Args:
        model: the model the tiles were made with.
        collection: the tiles; this engine closes it.
        engine: the settings; None takes those of the model's file.
        camera: the calibrated camera of the images, see `Localizer`.

    Raises:
        MapError: a tile cannot be used.
    """

    def __init__(self, model: PlaceModel, collection: MapCollection,
                 engine: EngineConfig | None = None, camera: CameraModel | None = None) -> None:
        self._collection = collection
        self._priors: dict[str, Prior] = {}
        self._allowed: list[int] | None = None
        self._tile: int | None = None
        self._carried: CarriedPose | None = None
        self._elsewhere = 0
        self._unmatched = 0
        self._since_choice = 0
        self._released_in = _RELEASED_EVERY
        engine = engine or model.engine
        self._seen = _recent(engine)
        collection.use_preparation(lambda found: prepare_map(found, model, engine))
        self._used: tuple[int, ...] = (0,)
        super().__init__(model, [collection.open(0)], engine, camera, frames=collection.frames)
        collection.use(self._used)
        self._undecided = True

    @property
    def collection(self) -> MapCollection:
        """The tiles."""
        return self._collection

    @property
    def tile(self) -> Tile | None:
        """The tile that the robot was found in last; None before it was found in any."""
        return None if self._tile is None else self._collection.tiles[self._tile]

    @property
    def used_tiles(self) -> tuple[Tile, ...]:
        """The tiles that are searched."""
        return tuple(self._collection.tiles[number] for number in self._used)

    def close(self) -> None:
        """Close the tiles."""
        self._collection.close()

    def use_prior(self, name: str, prior: Prior | None) -> None:
        """Take what a source knows of where the robot is, in place of what it knew before.

        Where the robot is followed in a tile that all priors leave, it stays there. Otherwise the
        tiles they leave are searched from the next image on.

        Args:
            name: the source.
            prior: what it knows; None for nothing any more.

        Raises:
            InputError: no tile is left; what was known before stays.
        """
        priors = {key: value for key, value in self._priors.items() if key != name}
        if prior is not None:
            priors[name] = prior
        allowed = tiles_within(self._collection.tiles, list(priors.values())) if priors else None
        self._priors, before = priors, self._allowed
        self._allowed = allowed
        if allowed != before and allowed is not None and self._tile not in allowed:
            self._undecided = True

    def use_settings(self, engine: EngineConfig) -> None:
        """Go on with other settings, see `Localizer.use_settings`.

        Raises:
            InputError: the model cannot describe sequences of this length; nothing changes.
        """
        super().use_settings(engine)
        model = self.model
        self._collection.use_preparation(lambda found: prepare_map(found, model, engine))
        self._seen = _recent(engine, self._seen)

    def reset(self) -> None:
        """Clear the sequence, as after a break."""
        super().reset()
        self._forget_drive()

    def _maps_for(self, images: Sequence[View], engine: EngineConfig) -> list[PlaceMap]:
        """Return the tiles that are searched, and those that the summary ranks first for images."""
        frames = np.stack([self.model.describe(image) for image in images])
        ranked = self._rank(self._searches[0].describe_sequences(frames))
        chosen = among_ranked(ranked, self._collection.config, self._used).used
        return self._prepare_all([self._collection.open(number) for number in chosen], engine)

    def _clear_sequence(self) -> None:
        super()._clear_sequence()
        self._forget_drive()

    def _forget_drive(self) -> None:
        self._seen.clear()
        self._carried = None
        self._unmatched = self._since_choice = 0

    def _match(self, query: int, stamp_ns: int, descriptor: np.ndarray, image: np.ndarray,
               pose: np.ndarray | None, describe_seconds: float) -> MatchResult:
        self._seen.append(descriptor)
        if self._carried is not None:
            self._carried.move(pose)
        self._use(self._choose())
        self._released_in -= 1
        if self._released_in <= 0:
            self._released_in = _RELEASED_EVERY
            for place_map in self._sources:
                place_map.release_pages()
        return super()._match(query, stamp_ns, descriptor, image, pose, describe_seconds)

    def _gated(self, result: MatchResult, odometry: np.ndarray | None) -> MatchResult:
        judged = super()._gated(result, odometry)
        self._note(judged, odometry)
        return judged

    def _note(self, result: MatchResult, odometry: np.ndarray | None) -> None:
        """Note where the robot is."""
        best = result.best
        if not result.accepted or best is None:
            self._unmatched += 1
            return
        self._unmatched = 0
        found = self._collection.number_of(best.map_id)
        if found == self._tile:
            self._elsewhere = 0
        else:
            self._elsewhere += 1
            if self._tile is None or self._elsewhere >= _SWITCHED_AFTER or (
                    self._collection.tiles[found].frame
                    != self._collection.tiles[self._tile].frame):
                self._tile, self._elsewhere = found, 0
                _logger.info('the robot is in tile %s', self._collection.tiles[found].name)
        self._carried = CarriedPose(best.pose if result.pose is None else result.pose, odometry)

    @property
    def _lost(self) -> bool:
        return self._tile is None or self._unmatched >= self._collection.config.lost_after

    def _choose(self) -> Choice:
        """Choose the tiles for the newest keyframe."""
        config = self._collection.config
        self._since_choice += 1
        if not (self._lost or self._undecided):
            assert self._tile is not None
            position = None if self._carried is None else self._carried.pose
            if position is None and self._carried is not None:
                position = self._carried.start
            return around(self._collection.tiles, config, self._tile,
                          None if position is None else position[:3], self._used, self._allowed)
        if self._allowed is not None and len(self._allowed) <= config.used_tiles:
            self._undecided = False
            return Choice(tuple(self._allowed))
        due = self._undecided or self._since_choice >= config.choose_every
        if not due or len(self._seen) < min(_FEWEST_KEYFRAMES, config.choose_every):
            return Choice(self._used)
        self._since_choice = 0
        self._undecided = False
        sequences = self._searches[0].describe_sequences(np.stack(self._seen))
        ranked = self._rank(sequences[-MOST_STRETCHES * STRETCH:])
        used = self._used
        if self._allowed is not None:
            used = tuple(number for number in used if number in self._allowed)
        return among_ranked(ranked, config, used)

    def _rank(self, sequences: np.ndarray) -> list[int]:
        ranked, _ = self._collection.summary.rank(
            sequences, self._allowed, self._engine.matching.reverse)
        return ranked.tolist()

    def _use(self, choice: Choice) -> None:
        """Search the chosen tiles from now on."""
        self._collection.prefetch(choice.opened)
        if set(choice.used) == set(self._used):
            return
        maps: list[PlaceMap] = [self._collection.open(number) for number in choice.used]
        self._collection.use(choice.used)
        for place_map in self._sources:
            place_map.release_pages()
        self.use_maps(maps)
        self._used = choice.used
        _logger.info('searching tiles %s', ', '.join(
            self._collection.tiles[number].name for number in choice.used))


def _recent(engine: EngineConfig, known: Iterable[np.ndarray] = ()) -> deque[np.ndarray]:
    """Return room for as many keyframes as the tiles are ranked by."""
    return deque(known, maxlen=MOST_STRETCHES * STRETCH + engine.sequence.length - 1)
