"""A drive through the tiles of a collection."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusal import refusal
from town_tiles import errors_m, localize, town_drive
from vector_maps import vector_map, vector_model, views

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.maps import map_reader
from seqnet_ros.maps.collection.collection_file import read_collection
from seqnet_ros.maps.collection.creation import create_collection, find_maps
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.collection.prior import AreaPrior, PosePrior
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.place_filter.active_states import spread_sample

LARGE = 17_000
ONE_AT_A_TIME = CollectionConfig(open_tiles=3, used_tiles=2, reach_m=5.0)


@pytest.fixture(scope='module')
def model() -> PlaceModel:
    return load_model('hog', device='cpu')


@pytest.fixture(scope='module')
def second():
    return town_drive(seed=2, lateral_offset=0.3)


def engine_for(model: PlaceModel, tiles: Path,
               config: CollectionConfig = ONE_AT_A_TIME) -> CollectionLocalizer:
    return CollectionLocalizer(model, MapCollection(tiles, config))


@pytest.mark.parametrize(('posed', 'share'), [(True, 0.97), (False, 0.55)])
def test_a_drive_through_two_tiles_is_nearly_as_good_as_in_the_whole_map(
        model, tiled_town, second, posed, share):
    """Without odometry, a small map tells its places apart less surely than a large one."""
    whole, tiles = tiled_town
    expected = localize(Localizer(model, open_map(whole, model)), second, posed)
    engine = engine_for(model, tiles)
    found = localize(engine, second, posed)
    engine.close()
    assert len(found) == len(expected)
    accepted = sum(result.accepted for result in found)
    assert accepted >= share * sum(result.accepted for result in expected)
    assert errors_m(found, second).max() <= errors_m(expected, second).max() + 1.0
    last = read_collection(tiles).tiles[-1]
    assert engine.tile == last


def test_the_border_is_crossed_without_a_gap(model, tiled_town, second):
    _, tiles = tiled_town
    engine = engine_for(model, tiles)
    names, accepted = [], []
    for frame in second:
        result = engine.push_lazily(frame.read, frame.stamp_ns, frame.pose)
        if result is not None:
            names.append(engine.tile.name if engine.tile else '')
            accepted.append(result.accepted)
    engine.close()
    entered = names.index('x1_y1')
    assert names.index('x1_y0') < entered
    assert set(names[entered:]) == {'x1_y1'}  # no flapping
    assert all(accepted[entered - 15:entered + 15])


def test_the_same_drive_gives_the_same_results(model, tiled_town, second):
    _, tiles = tiled_town
    first, again = (localize(engine_for(model, tiles), second[:60]) for _ in range(2))
    assert [result.reason for result in first] == [result.reason for result in again]
    for one, other in zip(first, again, strict=True):
        assert [item.place_id for item in one.candidates] == [
            item.place_id for item in other.candidates]
        assert one.off_map == other.off_map


class OnDemand(MapCollection):
    """A collection that opens no tile ahead."""

    def prefetch(self, numbers: Iterable[int]) -> None:
        pass


@pytest.fixture(scope='module')
def large_tiles(tmp_path_factory) -> tuple[PlaceModel, Path]:
    """Two tiles in a row, so large that only a part of their places is compared."""
    folder, model = tmp_path_factory.mktemp('large'), vector_model()
    for number in range(2):
        place_map = vector_map(model, number, x=number * LARGE, places=LARGE)
        save_map(prepare_map(place_map, model, model.engine), folder / f't{number}')
    create_collection(folder, find_maps([folder]), areas={}, frame='site')
    return model, folder


def over_the_border(model: PlaceModel, collection: MapCollection) -> list[MatchResult]:
    """Drive 120 m in the first tile and 120 m in the second."""
    engine = CollectionLocalizer(model, collection)
    engine.use_prior('start', PosePrior('site', (LARGE - 120.0, 0.0), 10.0))
    drive = np.concatenate([views(0, LARGE)[-120:], views(1, LARGE)[:120]])
    results = []
    for number, frame in enumerate(drive):
        results.append(engine.push(frame, number * 10**9, make_pose(float(number), 0.0)))
        if number == 20:
            engine.use_prior('start', None)
    engine.close()
    return [result for result in results if result is not None]


def test_what_is_found_does_not_depend_on_tiles_that_are_opened_ahead(large_tiles, monkeypatch):
    model, folder = large_tiles
    monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)  # they are memory-mapped
    ahead, on_demand = (
        over_the_border(model, kind(folder)) for kind in (MapCollection, OnDemand))
    assert len(ahead) > 200
    assert sum(result.accepted for result in ahead[130:]) > 80
    assert {result.best.map_id for result in ahead if result.accepted} == {
        tile.map_id for tile in read_collection(folder).tiles}
    for one, other in zip(ahead, on_demand, strict=True):
        assert (one.reason, one.off_map) == (other.reason, other.off_map)
        assert [(item.map_id, item.place_id, item.score) for item in one.candidates] == [
            (item.map_id, item.place_id, item.score) for item in other.candidates]


def test_a_tile_is_read_before_the_robot_is_there(large_tiles, monkeypatch):
    model, folder = large_tiles
    monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)
    collection = MapCollection(folder, prepare=lambda found: prepare_map(
        found, model, model.engine))
    collection.prefetch([1])
    tile = collection.open(1)
    assert tile.integrity is not None
    assert tile.integrity.wait(30)  # though it was not searched
    assert 'sampled_frames' in vars(tile)
    np.testing.assert_array_equal(
        tile.sampled_frames, tile.frames[spread_sample(len(tile))])
    collection.close()


def test_damage_in_a_tile_that_was_opened_ahead_is_said_when_it_is_searched(
        large_tiles, tmp_path, monkeypatch, caplog):
    model, folder = large_tiles
    copy = tmp_path / 'copy'
    shutil.copytree(folder, copy)
    damaged = copy / 't1' / 'sequences.npy'
    content = bytearray(damaged.read_bytes())
    content[-100] ^= 0x40
    damaged.write_bytes(content)
    monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)
    said = refusal(lambda: over_the_border(model, MapCollection(copy)))
    assert said.startswith(f'{damaged} was modified')
    assert [record.getMessage() for record in caplog.records if record.levelname == 'ERROR'] == [
        said]


def test_a_prior_decides_which_tiles_are_searched(model, tiled_town, second):
    _, tiles = tiled_town
    engine = engine_for(model, tiles)
    engine.use_prior('area', AreaPrior('x1_y1'))
    localize(engine, second[:3])
    assert [tile.name for tile in engine.used_tiles] == ['x1_y1']
    assert 'no tile has places in' in refusal(
        lambda: engine.use_prior('fix', PosePrior('map', (0.0, 0.0), 5.0)))
    engine.use_prior('area', AreaPrior('x1_y0'))
    localize(engine, second[3:6])
    assert [tile.name for tile in engine.used_tiles] == ['x1_y0']
    engine.close()


def test_a_robot_that_was_carried_is_found_in_another_tile(model, tiled_town, second):
    _, tiles = tiled_town
    config = CollectionConfig(open_tiles=2, used_tiles=1, reach_m=0.0, lost_after=5, choose_every=4)
    engine = engine_for(model, tiles, config)
    localize(engine, second[:35])
    assert engine.tile is not None
    assert engine.tile.name == 'x1_y0'
    unnoticed = second[108].pose - second[35].pose
    unnoticed[3:] = 0
    results = localize(
        engine, [replace(frame, pose=frame.pose - unnoticed) for frame in second[108:]])
    assert engine.tile.name == 'x1_y1'
    assert [tile.name for tile in engine.used_tiles] == ['x1_y1']
    assert sum(result.accepted for result in results) > 20
    assert errors_m(results, second).max() < 2.0
    engine.close()


def test_after_a_break_the_summary_must_agree_again(model, tiled_town, second):
    _, tiles = tiled_town
    engine = engine_for(model, tiles)
    assert any(result.accepted for result in localize(engine, second[:60]))
    engine.reset()
    accepted = [result.accepted for result in localize(engine, second[60:])]
    assert not any(accepted[:11])  # eight keyframes to the first ranking, four to the second
    assert any(accepted[11:40])
    engine.close()


def test_a_prior_that_says_the_same_again_changes_nothing(model, tiled_town, second):
    """Fixes come often; the rankings that confirm a match outlive them."""
    _, tiles = tiled_town
    config = CollectionConfig(open_tiles=2, used_tiles=1, reach_m=0.0)
    results = []
    for repeated in (False, True):
        engine = engine_for(model, tiles, config)
        accepted = []
        for frame in second[:45]:
            if repeated:
                engine.use_prior('fix', PosePrior('map', (170.0, 100.0), 500.0))
            result = engine.push_lazily(frame.read, frame.stamp_ns, frame.pose)
            if result is not None:
                accepted.append(result.accepted)
        engine.close()
        results.append(accepted)
    assert any(results[0])
    assert results[0] == results[1]


def test_find_looks_in_the_tiles_that_the_summary_ranks_first(model, tiled_town, second):
    _, tiles = tiled_town
    engine = engine_for(model, tiles, CollectionConfig(used_tiles=1, open_tiles=2))
    engine.use_prior('area', AreaPrior('x1_y0'))
    localize(engine, second[:3])
    engine.use_prior('area', None)
    images = [frame.read() for frame in second[130:140]]
    found = engine.find(images)
    assert found.best is not None
    assert np.linalg.norm(found.best.pose[:2] - second[139].pose[:2]) < 4.0
    assert [tile.name for tile in engine.used_tiles] == ['x1_y0']  # the drive is left alone
    engine.close()


def test_floors_are_told_apart_by_the_summary(model, tiled_town, second, tmp_path):
    """Two maps whose coordinates overlap, in frames of their own."""
    import shutil

    _, tiles = tiled_town
    for name in ('x1_y0', 'x1_y1'):
        shutil.copytree(tiles / name, tmp_path / name)
    create_collection(tmp_path, find_maps([tmp_path]), areas={'x1_y0': 'ground', 'x1_y1': 'first'})
    engine = engine_for(model, tmp_path)
    localize(engine, second[:35])
    assert engine.tile is not None
    assert engine.tile.area == 'ground'
    results = localize(engine, second[90:])
    assert engine.tile.area == 'first'
    assert errors_m(results[-30:], second).max() < 3.0
    engine.close()
