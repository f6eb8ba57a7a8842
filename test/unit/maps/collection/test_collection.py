"""Collections of maps: making, reading, choosing and opening tiles, and what is refused."""

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from refusal import refusal
from vector_maps import PLACES, vector_model, views

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.core.errors import InputError, MapCorruptError, MapWriteError
from seqnet_ros.core.geodesy import GeoPoint, enu_to_latlon
from seqnet_ros.maps.builder import build_map, select_places
from seqnet_ros.maps.collection.collection_file import Tile, read_collection
from seqnet_ros.maps.collection.creation import check_new_folder, create_collection, find_maps
from seqnet_ros.maps.collection.extent import Extent
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.collection.polygons import polygon_distances
from seqnet_ros.maps.collection.prior import (
    AreaPrior,
    FixPrior,
    PolygonPrior,
    PosePrior,
    tiles_within,
)
from seqnet_ros.maps.collection.splitting import cut_cells, parse_cell
from seqnet_ros.maps.collection.summary import STRETCH, Axes, RowIndex, Summary, pooled
from seqnet_ros.maps.collection.tile_boxes import TileBoxes
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.manifest_file import COLLECTION
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel

DATUM = GeoPoint(48.5, 9.1, 300.0)


MODEL = vector_model()


def line(x: float, y: float = 0.0, count: int = PLACES) -> np.ndarray:
    poses = np.zeros((count, 7))
    poses[:, 0], poses[:, 1], poses[:, 6] = x + np.arange(count), y, 1.0
    return poses


def one_map(seed: int, poses: np.ndarray, model: PlaceModel = MODEL,
            datum: GeoPoint | None = None) -> PlaceMap:
    frames = views(seed, len(poses), model.describer.dim)
    return build_map(model, frames, np.arange(len(poses)) * 10**9, poses, np.zeros(len(poses), int),
                     '1m', 'test', 'exact', datum=datum)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three maps in a row of one frame, and one elsewhere."""
    for number in range(4):
        save_map(one_map(number, line(100.0 * number, 5000.0 * (number == 3))),
                 tmp_path / f't{number}')
    return tmp_path


def create(folder: Path, **options: object) -> None:
    create_collection(folder, find_maps([folder]), **{
        'areas': {'t3': 'attic'}, 'frame': 'site', **options})


# The file.


def test_what_is_written_is_read(folder):
    create(folder)
    manifest = read_collection(folder)
    assert [tile.name for tile in manifest.tiles] == ['t0', 't1', 't2', 't3']
    assert manifest.places == 4 * PLACES
    assert manifest.areas == ('attic',)
    assert manifest.tiles[1].extent.low == (100.0, 0.0, 0.0)
    assert manifest.tiles[1].extent.high == (195.0, 0.0, 0.0)
    assert {tile.frame for tile in manifest.tiles} == {'site'}
    assert all(tile.rows == PLACES // STRETCH for tile in manifest.tiles)


def test_it_is_the_same_every_time(folder):
    create(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    create(folder, overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before


def test_a_new_summary_replaces_the_old_one(folder):
    create(folder)
    shutil.rmtree(folder / 't3')
    create(folder, areas={}, overwrite=True)
    assert len(list(folder.glob('summary-*.npy'))) == 2
    assert len(read_collection(folder).tiles) == 3


def test_maps_have_frames_of_their_own_unless_their_origin_on_the_earth_is_one(tmp_path):
    save_map(one_map(0, line(0)), tmp_path / 'a')
    save_map(one_map(1, line(0), datum=DATUM), tmp_path / 'b')
    save_map(one_map(2, line(500), datum=DATUM), tmp_path / 'c')
    create_collection(tmp_path, find_maps([tmp_path]), areas={})
    a, b, c = read_collection(tmp_path).tiles
    assert a.frame == 'a'
    assert a.geographic is None
    assert b.frame == c.frame != 'a'
    assert b.geographic.south == pytest.approx(48.5)
    assert c.geographic.west > b.geographic.east


# Bad input.


def test_tiles_of_different_models_are_refused(folder):
    save_map(one_map(9, line(0), vector_model(16)), folder / 'other')
    said = refusal(lambda: create(folder))
    assert 'tile t0' in said
    assert 'one model' in said
    assert not (folder / COLLECTION).exists()


def test_tiles_of_other_sequences_are_refused(folder):
    save_map(one_map(9, line(0), vector_model(length=5)), folder / 'u')
    assert 'the sequence length of tile u is 5, but that of t0 is 4' in refusal(
        lambda: create(folder))


def test_one_map_twice_is_refused(folder):
    shutil.copytree(folder / 't1', folder / 'copy')
    assert 'tiles copy and t1 are the same map' in refusal(lambda: create(folder))
    shutil.rmtree(folder / 'copy')
    assert 't0 is given twice' in refusal(lambda: create_collection(
        folder, [folder / 't0', folder / 't0'], areas={}))


def test_maps_elsewhere_are_refused(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    assert 'is not in the folder of the collection' in refusal(
        lambda: create_collection(elsewhere, find_maps([folder]), areas={}))


def test_folders_without_maps_are_refused(tmp_path):
    assert 'holds no map' in refusal(lambda: find_maps([tmp_path]))
    assert 'is not a folder' in refusal(lambda: find_maps([tmp_path / 'none']))
    assert 'no collection at' in refusal(lambda: read_collection(tmp_path))


def test_an_area_of_no_tile_is_refused(folder):
    assert 'there is no tile t9' in refusal(lambda: create(folder, areas={'t9': 'roof'}))


def test_nothing_else_is_replaced(folder):
    (folder / COLLECTION).write_text('{"mine": 1}')
    with pytest.raises(MapWriteError, match='is not a collection that can be replaced'):
        create(folder, overwrite=True)
    assert (folder / COLLECTION).read_text() == '{"mine": 1}'
    (folder / COLLECTION).unlink()
    create(folder)
    assert 'is a collection already' in refusal(lambda: create(folder))


@pytest.mark.parametrize('change', [
    lambda content: content.replace('"t1"', '"t7"'),
    lambda content: content[:200],
    lambda content: '[]',
    lambda content: json.dumps({**json.loads(content), 'collection': {
        **json.loads(content)['collection'], 'format_version': 9}})])
def test_damage_is_found(folder, change):
    create(folder)
    file = folder / COLLECTION
    file.write_text(change(file.read_text()))
    with pytest.raises(MapCorruptError):
        read_collection(folder)


@pytest.mark.parametrize('name', ['../t0', '/t0', 'a/../../b'])
def test_tiles_lead_nowhere_else(folder, name):
    create(folder)
    tile = read_collection(folder).tiles[0].model_dump()
    with pytest.raises(ValueError, match='inside the folder'):
        Tile.model_validate({**tile, 'name': name})


def test_a_summary_that_was_altered_is_refused(folder):
    create(folder)
    file, = folder.glob('summary-????????????????.npy')
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert 'was modified' in refusal(lambda: MapCollection(folder))
    file.unlink()
    assert 'is missing' in refusal(lambda: MapCollection(folder))


def test_a_map_that_was_replaced_or_is_gone_is_named(folder):
    create(folder)
    save_map(one_map(77, line(0)), folder / 't2', overwrite=True, backup=False)
    collection = MapCollection(folder)
    assert 'tile t2 is map' in (said := refusal(lambda: collection.open(2)))
    assert 'create --overwrite' in said
    assert len(collection.open(1)) == PLACES
    collection.close()
    shutil.rmtree(folder / 't1')
    assert 'tile t1 of the collection' in refusal(lambda: MapCollection(folder))


# Opening.


def test_the_least_recently_used_tile_is_closed(folder):
    create(folder)
    collection = MapCollection(folder, CollectionConfig(open_tiles=2))
    collection.open(0)
    collection.use([0])
    collection.open(1)
    collection.open(2)
    assert collection.open_tiles == [0, 2]  # the first one is in use
    collection.use([2])
    collection.open(1)
    assert collection.open_tiles == [2, 1]
    collection.close()


def test_tiles_are_opened_once_and_ahead(folder):
    create(folder)
    opened: list[int] = []
    gate = threading.Event()

    def prepare(place_map: PlaceMap) -> PlaceMap:
        opened.append(len(place_map))
        assert gate.wait(20)
        return place_map

    collection = MapCollection(folder, prepare=prepare)
    started = time.monotonic()
    collection.prefetch([1, 2])
    assert time.monotonic() - started < 10  # does not wait for the tiles
    gate.set()
    assert collection.open(1) is collection.open(1)
    collection.open(2)
    assert len(opened) == 2
    collection.close()


def test_size_limits_what_is_open(folder):
    create(folder)
    collection = MapCollection(folder, CollectionConfig(open_mb=1))
    size = collection.tiles[0].bytes
    assert size < 10**6
    for number in range(4):
        collection.open(number)
    assert len(collection.open_tiles) == min(4, 10**6 // size)
    collection.close()


# Priors.


def numbers(folder: Path, *priors: object) -> list[int]:
    return tiles_within(TileBoxes(read_collection(folder).tiles), priors)


def test_priors_leave_tiles(folder):
    create(folder)
    assert numbers(folder, PosePrior('site', (150.0, 0.0), 10.0)) == [1]
    assert numbers(folder, PosePrior('site', (197.0, 0.0), 10.0)) == [1, 2]
    assert numbers(folder, AreaPrior('attic')) == [3]
    assert numbers(folder, AreaPrior('t2')) == [2]
    square = ((90.0, -5.0), (290.0, -5.0), (290.0, 5.0), (90.0, 5.0))
    assert numbers(folder, PolygonPrior(square, 'site')) == [0, 1, 2]
    assert numbers(folder, PolygonPrior(square, 'site'), PosePrior('site', (0.0, 0.0), 20.0)) == [0]
    around = ((-1e4, -1e4), (1e4, -1e4), (0.0, 2e4))
    assert numbers(folder, PolygonPrior(around, 'site')) == [0, 1, 2, 3]


def test_a_region_without_places_names_the_nearest_tile(folder):
    create(folder)
    said = refusal(lambda: numbers(folder, PosePrior('site', (-50.0, 0.0), 10.0)))
    assert 'the nearest, t0, is 40 m away' in said
    assert 'no tile says where it is in this way' in refusal(
        lambda: numbers(folder, FixPrior(48.5, 9.1, 10.0)))
    apart = ((0.0, 100.0), (10.0, 100.0), (10.0, 110.0))
    assert 't0, is 100 m away' in refusal(lambda: numbers(folder, PolygonPrior(apart, 'site')))
    assert refusal(lambda: PolygonPrior(((0.0, 0.0), (1.0, 1.0))))
    assert refusal(lambda: FixPrior(91.0, 0.0, 1.0))


def test_fixes_are_compared_in_the_frame_of_the_tiles(tmp_path):
    save_map(one_map(0, line(0), datum=DATUM), tmp_path / 'a')
    save_map(one_map(1, line(0), datum=GeoPoint(48.6, 9.1)), tmp_path / 'b')
    create_collection(tmp_path, find_maps([tmp_path]), areas={})
    latitude, longitude = enu_to_latlon(np.array([[115.0, 0.0, 0.0]]), DATUM)[0].tolist()
    assert numbers(tmp_path, FixPrior(latitude, longitude, 30.0)) == [0]
    assert 'the nearest, a, is 10 m away' in refusal(
        lambda: numbers(tmp_path, FixPrior(latitude, longitude, 10.0)))
    corners = enu_to_latlon(np.array([[0, -9, 0], [9, -9, 0], [9, 9, 0]]), DATUM).tolist()
    assert numbers(tmp_path, PolygonPrior(tuple(map(tuple, corners)))) == [0]


# The summary.


def test_rows_are_means_of_stretches_that_do_not_cross_a_break():
    sequences = views(0, 20)
    starts = np.array([0] * 11 + [11] * 9)
    rows = pooled(sequences, starts)
    assert len(rows) == 4
    for row, part in zip(rows, (slice(0, 8), slice(8, 11), slice(11, 19), slice(19, 20)),
                         strict=True):
        mean = sequences[part].mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def centered(tiles: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of tiles less the means of the tiles, and the means."""
    means = np.array([rows.mean(axis=0) for rows in tiles])
    return np.concatenate([rows - mean for rows, mean in zip(tiles, means, strict=True)]), means


@pytest.mark.parametrize('dim', [8, 100, 3000])
def test_the_tile_of_a_drive_is_ranked_first(dim):
    tiles = [pooled(views(seed, 200, dim), np.zeros(200, int)) for seed in range(12)]
    rows, means = centered(tiles)
    axes = Axes.of_array(Axes.fit(rows, means).to_array())
    summary = Summary(axes.encode(rows), [len(tile) for tile in tiles], axes)
    noise = np.random.default_rng(3)
    for tile in range(12):
        drive = views(tile, 200, dim)[50:82]
        drive = drive + noise.standard_normal(drive.shape).astype(np.float32) * 0.5 / dim**0.5
        ranked, scores = summary.rank(drive)
        assert ranked[0] == tile
        assert scores[0] > scores[1] + 0.1
        assert set(summary.rank(drive, among=[tile, (tile + 1) % 12])[0]) == {
            tile, (tile + 1) % 12}
        # Driven the other way, the order of the rows differs.
        assert summary.rank(drive[::-1], reverse=True)[1][0] > 0.6


def test_rows_are_found_by_a_sequence():
    sequences = views(5, 400)
    rows, means = centered([pooled(sequences, np.zeros(400, int))])
    axes = Axes.fit(rows, means)
    index = RowIndex(axes.encode(rows), np.arange(0, 400, STRETCH), axes)
    found = [place in range(first, first + STRETCH) for place in range(0, 400, 7)
             for first in [int(index.search(sequences[place], 5)[1][0])]]
    assert np.mean(found) > 0.8
    assert len(index.search(sequences[0], 1000)[1]) == 50


@pytest.mark.parametrize('among', [None, [0, 1, 4, 7, 11]])
def test_boxes_are_compared_as_each_by_itself(among):
    random = np.random.default_rng(0)
    tiles = [Tile(name=f't{number}', map_id=f'm{number}', places=1, bytes=0, rows=1,
                  scene=(0.0, 1.0, 0.0, 1.0), frame='ab'[number % 2],
                  extent=Extent.of(random.uniform(0, 100, (2, 3))) if number % 5 else None)
             for number in range(12)]
    position = random.uniform(0, 100, 3)
    expected = sorted(
        (tile.extent.distance(position), number) for number, tile in enumerate(tiles)
        if number != 1 and tile.frame == 'b' and tile.extent is not None
        and tile.extent.distance(position) <= 60 and (among is None or number in among))
    assert expected
    assert TileBoxes(tiles).near(position, 1, 60.0, among) == expected


def test_fixes_of_many_datums_and_polygons_are_compared_as_each_tile_by_itself():
    random = np.random.default_rng(1)
    datums = [None, Datum(latitude=48.5, longitude=9.1, altitude=3.0),
              Datum(latitude=48.501, longitude=9.1)]
    tiles = [Tile(name=f't{number}', map_id=f'm{number}', places=1, bytes=0, rows=1,
                  scene=(0.0, 1.0, 0.0, 1.0), frame='a', datum=datums[number % 3],
                  extent=Extent.of(random.uniform(0, 100, (2, 3))) if number % 5 else None)
             for number in range(30)]
    boxes = TileBoxes(tiles)
    for prior in (FixPrior(48.5005, 9.1005, 20.0),
                  PolygonPrior(((48.5002, 9.1), (48.5002, 9.1004), (48.5004, 9.1)))):
        distances = prior.distances(boxes)
        known = [tile.extent is not None and tile.datum is not None for tile in tiles]
        assert np.isfinite(distances).tolist() == known
        assert len(set(distances[known] == 0)) == 2
        alone = [prior.distances(TileBoxes([tile]))[0] for tile in tiles]
        np.testing.assert_array_equal(distances, alone)


def test_polygons_that_touch_or_contain_each_other_meet():
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    right, diagonal, up = np.array([10, 0]), np.array([13, 14]), np.array([0, 12])
    others = np.stack([square + right, square / 2 + 2, square * 3 - 10, square + diagonal,
                       square + up, square[::-1] + 5])
    expected = [0, 0, 0, 5, 2, 0]
    pairs = np.broadcast_to(square, others.shape)
    np.testing.assert_allclose(polygon_distances(pairs, others), expected)
    np.testing.assert_allclose(polygon_distances(others, pairs), expected)
    cross = np.array([[[4.0, -5], [6, -5], [6, 15], [4, 15]]])  # no corner inside the other
    assert polygon_distances(square[None], cross).tolist() == [0]


# Cutting.


def test_cells_hold_all_places_and_overlap_along_the_drive():
    place_map = one_map(0, line(0, count=300))
    cells = list(cut_cells(place_map, 100.0, 8))
    assert [cell.name for cell in cells] == ['x0_y0', 'x1_y0', 'x2_y0']
    assert [(cell.places[0], cell.places[-1]) for cell in cells] == [
        (0, 107), (92, 207), (192, 299)]


def test_small_cells_join_their_neighbors():
    place_map = one_map(0, line(0, count=205))
    assert [len(cell.places) for cell in cut_cells(place_map, 100.0, 0)] == [100, 105]


def test_a_part_keeps_its_sequences_and_breaks():
    whole = one_map(0, line(0, count=60))
    part = select_places(whole, np.array([3, 4, 5, 20, 21, 22]))
    np.testing.assert_array_equal(part.sequences, whole.sequences[[3, 4, 5, 20, 21, 22]])
    assert part.segment_starts.tolist() == [0, 0, 0, 3, 3, 3]
    assert part.manifest.route_length_m == pytest.approx(4.0)
    assert part.manifest.map_id != whole.manifest.map_id


@pytest.mark.parametrize('text', ['0m', 'wide', '-5m', '1e9m'])
def test_bad_cells_are_refused(text):
    with pytest.raises(InputError, match='is invalid'):
        parse_cell(text)


def test_a_map_without_poses_cannot_be_cut():
    frames = views(0)
    place_map = build_map(MODEL, frames, np.arange(PLACES), line(0), np.zeros(PLACES, int), '1',
                          'test', 'frame number = metres')
    assert 'has no measured poses' in refusal(lambda: list(cut_cells(place_map, 10.0, 1)))


def test_a_collection_replaces_nothing(tmp_path: Path) -> None:
    check_new_folder(tmp_path / 'new')
    (tmp_path / 'mine').mkdir()
    check_new_folder(tmp_path / 'mine')
    (tmp_path / 'mine' / 'notes.txt').write_text('notes')
    (tmp_path / 'link').symlink_to('link')
    for name, message in (('mine', 'exists, expected a new folder'),
                          ('missing/new', 'does not exist'),
                          ('link', 'exists, expected a new folder')):
        with pytest.raises(MapWriteError, match=message):
            check_new_folder(tmp_path / name)
