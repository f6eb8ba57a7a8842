"""The engine for a collection: it follows the robot from tile to tile."""

import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.images import View
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.localization.result import MatchResult, Reason
from seqnet_ros.localization.tile_choice import Choice, among_ranked, around
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.map_collection import MapCollection, Prepare
from seqnet_ros.maps.collection.prior import Prior, tiles_within
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel

_logger = logging.getLogger(__name__)

_REMEMBERED = 128
"""Keyframes whose mean tells what the drive has in common."""
_FEWEST_KEYFRAMES = 8
"""Keyframes before the tiles are ranked for the first time."""
_PRIOR = 8
"""Keyframes that the means of the maps stand for in that of the drive, of models that center."""
_RANKINGS, _RANKED_EVERY = 2, 4
"""Rankings that confirm a match of a robot that was lost, and keyframes between them at least."""
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
        prepare: makes an opened tile ready for these settings; None for `prepare_map`.

    Raises:
        MapError: a tile cannot be used.
    """

    def __init__(self, model: PlaceModel, collection: MapCollection,
                 engine: EngineConfig | None = None, camera: CameraModel | None = None,
                 prepare: Prepare | None = None) -> None:
        self._collection = collection
        self._priors: dict[str, Prior] = {}
        self._allowed: list[int] | None = None
        # The tile that the robot is said to be in, and that of the newest accepted match.
        self._tile: int | None = None
        self._found: int | None = None
        self._carried: CarriedPose | None = None
        self._elsewhere = 0
        self._unmatched = 0
        self._since_choice = self._since_ranked = 0
        self._ranked_first: deque[int] = deque(maxlen=_RANKINGS)
        self._released_in = _RELEASED_EVERY
        engine = engine or model.engine
        self._seen = _recent(engine)
        collection.use_preparation(
            prepare or (lambda found: prepare_map(found, model, engine)))
        self._used: tuple[int, ...] = (collection.first,)
        super().__init__(model, [collection.open(collection.first)], engine, camera,
                         frames=collection.frames,
                         places=sum(tile.places for tile in collection.tiles))
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
        allowed = tiles_within(self._collection.boxes, list(priors.values())) if priors else None
        self._priors, before = priors, self._allowed
        self._allowed = allowed
        if allowed == before:
            return
        self._ranked_first.clear()
        if allowed is not None and self._tile not in allowed:
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

    def _maps_for(self, images: Sequence[View], engine: EngineConfig) -> list[PlaceMap]:
        """Return the tiles that are searched, and those that the summary ranks first for images."""
        ranked = self._rank([self.model.describe(image) for image in images])
        chosen = self._collection.ready(
            among_ranked(ranked, self._collection.config, self._used).used)
        return self._prepare_all([self._collection.open(number) for number in chosen], engine)

    def _clear_sequence(self) -> None:
        super()._clear_sequence()
        self._forget_drive()

    def _forget_drive(self) -> None:
        self._seen.clear()
        self._carried = None
        self._unmatched = self._collection.config.lost_after  # it may be anywhere
        self._since_choice = self._since_ranked = 0
        self._ranked_first.clear()

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
        if judged.accepted and self._lost and not self._is_confirmed(judged):
            judged = replace(judged, reason=Reason.CONVERGING)
        self._note(judged, odometry)
        return judged

    def _is_confirmed(self, result: MatchResult) -> bool:
        """Return whether the summary agrees with an accepted match of a robot that was lost.

        The place filter knows the tiles that are searched, and a small map of the wrong place may
        look more likely to it than none. The summary knows all tiles: the last two rankings, some
        keyframes apart, must begin with the tile of the match.
        """
        tiles, best = self._collection.tiles, result.best
        assert best is not None
        others = range(len(tiles)) if self._allowed is None else self._allowed
        if set(others) <= set(self._used):
            return True
        if self._since_ranked >= _RANKED_EVERY:
            self._rank_drive()
        found = tiles[self._collection.number_of(best.map_id)]
        agreeing = [_shows(tiles[number], found, best.pose) for number in self._ranked_first]
        if agreeing and not agreeing[-1]:
            self._undecided = self._ranked_first[-1] not in self._used
        return len(agreeing) == _RANKINGS and all(agreeing)

    def _note(self, result: MatchResult, odometry: np.ndarray | None) -> None:
        """Note where the robot is."""
        best = result.best
        if not result.accepted or best is None:
            self._unmatched += 1
            return
        was_lost, self._unmatched = self._lost, 0
        found = self._found = self._collection.number_of(best.map_id)
        self._elsewhere = 0 if found == self._tile else self._elsewhere + 1
        tiles = self._collection.tiles
        if found != self._tile and (
                self._tile is None or was_lost or self._elsewhere >= _SWITCHED_AFTER
                or tiles[found].frame != tiles[self._tile].frame):
            self._tile, self._elsewhere = found, 0
            _logger.info('the robot is in tile %s', tiles[found].name)
        self._carried = CarriedPose(best.pose if result.pose is None else result.pose, odometry)

    @property
    def _lost(self) -> bool:
        return self._tile is None or self._unmatched >= self._collection.config.lost_after

    def _choose(self) -> Choice:
        """Choose the tiles for the newest keyframe."""
        config = self._collection.config
        self._since_choice += 1
        self._since_ranked += 1
        if not (self._lost or self._undecided):
            assert self._found is not None
            position = None if self._carried is None else self._carried.pose
            if position is None and self._carried is not None:
                position = self._carried.start
            return around(self._collection.tiles, self._collection.boxes, config, self._found,
                          None if position is None else position[:3], self._used, self._allowed)
        if self._allowed is not None and len(self._allowed) <= config.used_tiles:
            self._undecided = False
            return Choice(tuple(self._allowed))
        due = self._undecided or self._since_choice >= config.choose_every
        if not due or len(self._seen) < min(_FEWEST_KEYFRAMES, config.choose_every):
            return Choice(self._used)
        self._since_choice = 0
        self._undecided = False
        ranked = self._rank_drive()
        used = self._used
        if self._allowed is not None:
            used = tuple(number for number in used if number in self._allowed)
        return among_ranked(ranked, config, used)

    def _rank_drive(self) -> list[int]:
        """Rank the tiles by the last keyframes."""
        ranked = self._rank(self._seen)
        self._ranked_first.append(ranked[0])
        self._since_ranked = 0
        return ranked

    def _rank(self, frames: Collection[np.ndarray]) -> list[int]:
        """Rank the tiles by descriptors of successive keyframes ``[D]``, oldest first."""
        described, mean = np.stack(list(frames)), None
        if self.model.config.centring:
            known = np.mean([search.map.mean for search in self._searches], axis=0)
            mean = (described.sum(axis=0) + _PRIOR * known) / (len(described) + _PRIOR)
        return self._collection.rank(
            self._searches[0].describe_sequences(described, mean), self._allowed,
            self._engine.matching.reverse)

    def _use(self, choice: Choice) -> None:
        """Search the chosen tiles from now on."""
        self._collection.prefetch(choice.opened)
        used = self._collection.ready(choice.used)
        if not used or set(used) == set(self._used):
            return
        maps: list[PlaceMap] = [self._collection.open(number) for number in used]
        self._collection.use(used)
        for place_map in self._sources:
            place_map.release_pages()
        self.use_maps(maps)
        self._used = used
        _logger.info('searching tiles %s', ', '.join(
            self._collection.tiles[number].name for number in used))


def _shows(tile: Tile, found: Tile, pose: np.ndarray) -> bool:
    """Return whether a tile may show the place of a match in another, or is the same."""
    return tile == found or (tile.frame == found.frame and tile.extent is not None
                             and tile.extent.distance(pose[:3]) == 0)


def _recent(engine: EngineConfig, known: Iterable[np.ndarray] = ()) -> deque[np.ndarray]:
    """Return room for as many keyframes as the tiles are ranked by."""
    return deque(known, maxlen=_REMEMBERED + engine.sequence.length - 1)
