"""``evaluate bags`` with the tiles of a collection in place of a map."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from command_line import refusal, run, succeed
from town_recordings import contents, write_bag, write_truth

from seqnet_ros.api import evaluate
from seqnet_ros.evaluation.replay.run_files import TILE_COLUMNS, read_queries, read_results
from seqnet_ros.maps.collection.collection_file import read_collection
from seqnet_town import DAY, OVERCAST, Camera, Drive, Town

FAR = (500.0, 0.0)


class Site(NamedTuple):
    """A street mapped in two halves, a map cut into tiles, and a later drive.

    The maps ``halves/near`` and ``halves/far`` have frames of their own: the poses of the second
    one are moved. ``tiles`` is cut from a map of the whole street.
    """

    folder: Path
    mapped: tuple[Path, Path]
    drive: Path

    @property
    def query(self) -> tuple[object, ...]:
        return 'evaluate', 'bags', '--query-source', self.drive


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp('site')
    town = Town(7, (2, 1))
    near = Drive(town, DAY, Camera(96, 72), length=60.0, speed=9.0, seed=1)
    whole = Drive(town, DAY, Camera(96, 72), length=120.0, speed=9.0, seed=1,
                  start_ns=1_700_050_000_000_000_000)
    later = Drive(town, OVERCAST, Camera(96, 72), length=110.0, speed=8.0, seed=2,
                  lateral_offset=0.5, start_ns=1_700_100_000_000_000_000)
    bags = write_bag(folder / 'near.bag', near), write_bag(folder / 'far.bag', whole, FAR)
    write_bag(folder / 'whole.bag', whole)
    write_truth(folder / 'near.txt', near)
    write_truth(folder / 'far.txt', whole)
    (folder / 'halves').mkdir()
    for bag in bags:
        succeed('map', 'build', bag, '--model', 'hog', '--output', folder / 'halves' / bag.stem)
    succeed('map', 'build', folder / 'whole.bag', '--model', 'hog', '--output', folder / 'map')
    succeed('map', 'collection', 'split', folder / 'map', '--output', folder / 'tiles', '--cell',
            '60m')
    return Site(folder, bags, write_bag(folder / 'later.bag', later))


@pytest.fixture(scope='module')
def evaluated(site: Site) -> Path:
    """A run on the tiles."""
    output = site.folder / 'run'
    succeed(*site.query, '--map', site.folder / 'tiles', '--output', output)
    return output


def collect(site: Site, name: str, *options: object) -> Path:
    """Make a collection of the two halves, linked into a folder of its own."""
    folder = site.folder / name
    folder.mkdir()
    for half in (site.folder / 'halves').iterdir():
        if half.is_dir():
            (folder / half.name).mkdir()
            for file in half.iterdir():
                (folder / half.name / file.name).hardlink_to(file)
    succeed('map', 'collection', 'create', folder, '--output', folder, *options)
    return folder


def test_results_are_those_of_localize(site, evaluated, tmp_path):
    succeed('localize', site.drive, '--map', site.folder / 'tiles', '--output', tmp_path)
    with (tmp_path / 'matches.csv').open(newline='') as file:
        matches = list(csv.DictReader(file))
    shared = ('query', 'stamp_ns', 'accepted', 'reason', 'place_id', 'score', 'map')
    rows = read_queries(evaluated)
    assert len(rows) > 80
    assert [[row[name] for name in shared] for row in rows] == [
        [row[name] for name in shared] for row in matches]


def test_places_of_all_tiles_count(site, evaluated, tmp_path):
    succeed(*site.query, '--map', site.folder / 'map', '--output', tmp_path / 'alone')
    tiles, alone = read_results(evaluated), read_results(tmp_path / 'alone')
    # Tiles overlap: together they show the places of the map, and no others.
    assert tiles.measures.queries == alone.measures.queries
    assert [row['nearest'] for row in read_queries(evaluated)] == [
        row['nearest'] for row in read_queries(tmp_path / 'alone')]
    accepted = tiles.measures.accepted
    assert accepted.right > 30
    assert accepted.wrong == 0
    assert tiles.measures.recall[1] > 0.9
    assert alone.map.tiles is None
    header = (tmp_path / 'alone' / 'queries.csv').read_text().splitlines()[0].split(',')
    assert not {*TILE_COLUMNS} & {*header}


def test_what_was_found_in_each_tile(site, evaluated):
    manifest = read_collection(site.folder / 'tiles')
    found = read_results(evaluated)
    assert [(tile.name, tile.places) for tile in found.map.tiles] == [
        (tile.name, tile.places) for tile in manifest.tiles]
    assert found.map.places == manifest.places
    assert found.map.map_id == manifest.summary.id
    hits = [row for row in read_queries(evaluated) if row['outcome'] == 'hit']
    for tile in found.map.tiles:
        there = [row for row in hits if row['map'] == tile.name]
        assert (tile.accepted, tile.right, tile.wrong) == (len(there), len(there), 0)
        assert tile.right > 0
        assert all(int(row['place_id']) < tile.places for row in there)
    assert sum(tile.in_tile for tile in found.map.tiles) == found.measures.queries.in_map
    report = (evaluated / 'report.html').read_text()
    assert all(f'<th scope="row">{tile.name}</th>' in report for tile in found.map.tiles)
    with np.load(evaluated / 'belief.npz') as belief:
        assert belief['bounds'][-1] == manifest.places


def test_repetition_and_comparison(site, evaluated, tmp_path):
    succeed(*site.query, '--map', site.folder / 'tiles', '--output', tmp_path / 'again')
    assert contents(evaluated) == contents(tmp_path / 'again')
    succeed(*site.query, '--map', site.folder / 'tiles', '--output', tmp_path / 'one', '--set',
            'collection.used_tiles=1')
    shown = succeed('compare', evaluated, tmp_path / 'one').output
    assert 'Recall@1' in shown


def test_a_place_of_another_tile_is_wrong(site, tmp_path):
    """The far tile is said to be in the frame of the near one, and is 500 m off."""
    folder = collect(site, 'shared', '--frame', 'town')
    run(*site.query, '--map', folder, '--output', tmp_path / 'run')
    rows = [row for row in read_queries(tmp_path / 'run') if row['accepted'] == 'true']
    far = [row for row in rows if row['map'] == 'far']
    assert far
    assert {row['outcome'] for row in far} == {'wrong'}
    assert all(float(row['error']) > 400 for row in far)
    assert {row['outcome'] for row in rows if row['map'] == 'near'} <= {'hit'}
    tiles = {tile.name: tile for tile in read_results(tmp_path / 'run').map.tiles}
    assert tiles['far'].wrong == len(far)
    assert tiles['far'].in_tile == 0


def test_tiles_of_several_frames_need_true_poses(site, tmp_path):
    folder = collect(site, 'apart')
    said = refusal(*site.query, '--map', folder, '--output', tmp_path / 'run')
    assert 'tiles far and near of' in said
    assert '--map-truth' in said
    both = [word for bag in site.mapped for word in ('--map-source', bag)]
    truths = [word for bag in site.mapped for word in (
        '--map-truth', site.folder / f'{bag.stem}.txt')]
    succeed(*site.query, '--map', folder, '--output', tmp_path / 'run', *both, *truths)
    found = read_results(tmp_path / 'run')
    assert found.measures.accepted.right > 30
    assert found.measures.accepted.wrong == 0
    rows = read_queries(tmp_path / 'run')
    assert {row['map'] for row in rows if row['outcome'] == 'hit'} <= {'near', 'far'}
    assert all(row['place_frame'] for row in rows if row['place_id'])
    said = refusal(*site.query, '--map', folder, '--output', tmp_path / 'half', *both[:2],
                   *truths[:2])
    assert 'no place of tile far comes from' in said


def test_recordings_of_the_same_times_are_told_apart_by_their_names(site, tmp_path):
    twice = ('--map-source', site.mapped[0]) * 2
    said = refusal(*site.query, '--map', site.folder / 'tiles', '--output', tmp_path / 'run',
                   *twice)
    assert 'have frames of the same times' in said
    assert 'whole.bag' in said


def test_python_evaluates_collections(site, evaluated):
    assert evaluate(site.folder / 'tiles', site.drive).measures == read_results(evaluated).measures


def test_frames_need_the_recordings_of_the_tiles(site, tmp_path):
    said = refusal(*site.query, '--map', site.folder / 'tiles', '--output', tmp_path / 'run',
                   '--tolerance', '2frames')
    assert 'expected meters, or --map-source' in said
    assert not (tmp_path / 'run').exists()
    (tmp_path / 'pairs.csv').write_text('query,map\n' + ''.join(
        f'{number},{number}\n' for number in range(60)))
    run(*site.query, '--map', site.folder / 'tiles', '--output', tmp_path / 'run', '--map-source',
        site.folder / 'whole.bag', '--pairs', tmp_path / 'pairs.csv', '--tolerance', '10frames')
    rows = [row for row in read_queries(tmp_path / 'run') if row['error']]
    assert rows
    assert all(float(row['error']) == abs(int(row['place_frame']) - int(row['query']))
               for row in rows)


def test_settings_of_collections_are_checked(site, tmp_path):
    options = '--map', site.folder / 'tiles', '--output', tmp_path / 'run'
    assert 'settings of collection' in refusal(
        *site.query, *options, '--set', 'collection.used_tiles=0')
    assert 'expected --map with the address' in refusal(
        *site.query, *options, '--session', 'monday')
    assert not (tmp_path / 'run').exists()
