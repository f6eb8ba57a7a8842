"""Reference collection: the places of all its tiles, and the frames and true poses of these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.metrics.place_ground_truth import FRAMES, Tolerance
from seqnet_ros.evaluation.replay.recordings import RecordingOptions, Recordings
from seqnet_ros.evaluation.replay.reference_map import PlacesOfFrames
from seqnet_ros.evaluation.replay.reference_places import (
    ReferencePlaces,
    array_bytes,
    spread_rows,
)
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.map_collection import MapCollection, check_tile
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.place_map import MapManifest, PlaceMap
from seqnet_ros.models.place_model import PlaceModel


@dataclass(frozen=True, eq=False)
class ReferenceTiles(ReferencePlaces):
    """The tiles of a collection, and the frames their places were made of.

    Attributes:
        place_frames: see `ReferencePlaces`.
        truth: see `ReferencePlaces`.
        tile_manifests: of the maps of the tiles.
        tile_poses: float64 ``[N, 7]``, of all places in their maps.
        tile_bytes: size of the arrays of all maps.
        compared: float32 ``[R, D]``, frames of some places as they are compared.
        names: of the tiles.
    """

    place_frames: np.ndarray
    truth: np.ndarray
    tile_manifests: tuple[MapManifest, ...]
    tile_poses: np.ndarray
    tile_bytes: int
    compared: np.ndarray
    names: tuple[str, ...]

    @property
    def manifests(self) -> tuple[MapManifest, ...]:
        """The manifests of the tiles."""
        return self.tile_manifests

    @property
    def poses(self) -> np.ndarray:
        """Poses of the places in their maps, float64 ``[N, 7]``."""
        return self.tile_poses

    @property
    def bytes(self) -> int:
        """Size of the arrays of all maps."""
        return self.tile_bytes

    def compared_frames(self) -> np.ndarray:
        """Return frames of places, see `ReferencePlaces.compared_frames`."""
        return self.compared


def check_tiles(where: object, tiles: Sequence[Tile], tolerance: Tolerance,
                maps: RecordingOptions | None) -> None:
    """Find out whether it can be told which places of all tiles are right.

    Args:
        where: the collection, for messages.
        tiles: its tiles.
        tolerance: how near to the truth is right.
        maps: the recordings they were made of; None if they are not available.

    Raises:
        InputError: it cannot; the message says what is missing.
    """
    if tolerance.unit == FRAMES:
        if maps is None:
            raise InputError(f'{where} is a collection and the tolerance is {tolerance}, expected '
                             'meters, or --map-source with the recordings of all tiles: the places '
                             'of different tiles have no numbers in common')
        return
    if maps is not None and maps.truth:
        return
    first = tiles[0]
    other = next((tile for tile in tiles if tile.frame != first.frame), None)
    if other is not None:
        raise InputError(
            f'tiles {first.name} and {other.name} of {where} have coordinates of their own, '
            'expected tiles that share them (`map collection create --frame`), or --map-source '
            'and --map-truth with the true poses of all tiles in one frame')


def read_tiles(tiles: MapCollection, model: PlaceModel, tolerance: Tolerance,
               recordings: Recordings | None,
               progress: Callable[[int], None] = lambda _: None) -> ReferenceTiles:
    """Read where the places of all tiles are, one tile after the other.

    Args:
        tiles: the collection.
        model: the model it was made with.
        tolerance: how near to the truth is right.
        recordings: those the tiles were made of; None if they are not available.
        progress: told how many tiles were read.

    Raises:
        MapError: a tile cannot be used.
        InputError: the recordings do not say which frames a tile was made of.
    """
    known = None if recordings is None else PlacesOfFrames(recordings)
    needed = tolerance.unit == FRAMES or (known is not None and known.tells_truth)
    places = np.cumsum([0, *(tile.places for tile in tiles.tiles)])
    shown = spread_rows(int(places[-1]))
    manifests, poses, frames, truth, compared, size = [], [], [], [], [], 0
    for number, tile in enumerate(tiles.tiles):
        place_map = _open(tiles, number, model)
        found = place_map.poses, np.full(len(place_map), -1)
        if known is not None:
            found = known.of(place_map, place_map.manifest.source)
        if needed and not _is_known(*found):
            raise InputError(f'no place of tile {tile.name} comes from the recordings of '
                             f'--map-source, expected those of all tiles: {tile.name} was made of '
                             f'{place_map.manifest.source}')
        manifests.append(place_map.manifest)
        poses.append(place_map.poses)
        truth.append(found[0])
        frames.append(found[1])
        rows = shown[(shown >= places[number]) & (shown < places[number + 1])] - places[number]
        compared.append(np.array(place_map.matching_frames[rows]))
        size += array_bytes(place_map)
        if place_map.integrity is not None:
            place_map.integrity.close()
        progress(number + 1)
    stacked = np.concatenate(poses)
    replaced = known is not None and known.tells_truth
    return ReferenceTiles(
        np.concatenate(frames), np.concatenate(truth) if replaced else stacked, tuple(manifests),
        stacked, size, np.concatenate(compared), tuple(tile.name for tile in tiles.tiles))


def _open(tiles: MapCollection, number: int, model: PlaceModel) -> PlaceMap:
    place_map = open_map(tiles.path_of(number), model, late_index=True)
    check_tile(tiles.tiles[number], place_map.manifest, tiles.manifest)
    return place_map


def _is_known(truth: np.ndarray, frames: np.ndarray) -> bool:
    """Return whether a frame and a true pose of any place are known."""
    return bool((frames >= 0).any() and np.isfinite(truth).all(axis=1).any())
