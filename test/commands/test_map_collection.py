"""``seqnet_ros map collection`` and ``localize`` with a collection."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import refusal, succeed
from curved_road import record
from streets import Street

from seqnet_ros.maps.collection.collection_file import read_collection
from seqnet_ros.maps.manifest_file import COLLECTION


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two maps of different streets, and a drive through the second of them."""
    folder = tmp_path_factory.mktemp('site')
    for name, seed in (('first', 1), ('second', 2)):
        record(folder / f'{name}.bag', Street(seed, 260), np.arange(0.0, 200.0))
        (folder / 'maps' / name).mkdir(parents=True)
        succeed('map', 'build', folder / f'{name}.bag', '--model', 'hog', '--output',
                folder / 'maps' / name / 'map')
    record(folder / 'drive.bag', Street(2, 260), np.arange(20.0, 150.0), light=5)
    return folder


@pytest.fixture
def maps(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder / 'maps', tmp_path / 'maps')
    return tmp_path / 'maps'


def matches(output: Path) -> list[dict[str, str]]:
    with (output / 'matches.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def test_a_drive_is_found_in_the_right_map(folder, maps, tmp_path):
    shown = succeed('map', 'collection', 'create', maps, '--output', maps,
                    '--area', 'second/map=upstairs').output
    assert re.search(r'tiles\W+2\b', shown)
    assert [tile.name for tile in read_collection(maps).tiles] == ['first/map', 'second/map']
    succeed('localize', folder / 'drive.bag', '--map', maps, '--output', tmp_path / 'out')
    accepted = [row for row in matches(tmp_path / 'out') if row['reason'] == 'accepted']
    assert len(accepted) > 60
    assert {row['map'] for row in accepted} == {'second/map'}
    lines = (tmp_path / 'out' / 'matches.jsonl').read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert {item['candidates'][0]['map'] for item in found
            if item['reason'] == 'accepted'} == {'second/map'}
    succeed('localize', folder / 'drive.bag', '--map', maps, '--output', tmp_path / 'upstairs',
            '--area', 'upstairs')
    assert sum(row['reason'] == 'accepted' for row in matches(tmp_path / 'upstairs')) >= len(
        accepted)


def test_an_area_that_no_tile_has_is_refused(folder, maps, tmp_path):
    succeed('map', 'collection', 'create', maps, '--output', maps)
    said = refusal('localize', folder / 'drive.bag', '--map', maps, '--output', tmp_path / 'out',
                   '--area', 'cellar')
    assert 'no tile has places in area cellar' in said
    said = refusal('localize', folder / 'drive.bag', '--map', maps / 'first' / 'map', '--output',
                   tmp_path / 'out', '--area', 'cellar')
    assert 'expected a collection for the area' in said
    assert not (tmp_path / 'out' / 'matches.csv').exists()


def test_a_map_is_cut_and_shown_and_verified(maps, tmp_path):
    shown = succeed('map', 'collection', 'split', maps / 'first' / 'map', '--output',
                    tmp_path / 'tiles', '--cell', '60m').output
    tiles = read_collection(tmp_path / 'tiles').tiles
    assert len(tiles) > 1
    assert str(len(tiles)) in shown
    assert {tile.frame for tile in tiles} == {'map'}
    shown = succeed('map', 'collection', 'info', tmp_path / 'tiles').output
    assert all(tile.name in shown for tile in tiles)
    assert 'sound' in succeed('map', 'collection', 'verify', tmp_path / 'tiles').output
    frames = tmp_path / 'tiles' / tiles[0].name / 'frames.npy'
    content = bytearray(frames.read_bytes())
    content[-1] ^= 1
    frames.write_bytes(bytes(content))
    assert 'frames.npy' in refusal('map', 'collection', 'verify', tmp_path / 'tiles')


def test_a_collection_is_no_map(maps):
    succeed('map', 'collection', 'create', maps, '--output', maps)
    assert 'is a collection of maps, expected one map' in refusal('map', 'info', maps)


def test_nothing_is_replaced_unasked(maps):
    succeed('map', 'collection', 'create', maps, '--output', maps)
    before = (maps / COLLECTION).read_bytes()
    assert 'is a collection already' in refusal(
        'map', 'collection', 'create', maps, '--output', maps)
    succeed('map', 'collection', 'create', maps, '--output', maps, '--overwrite')
    assert (maps / COLLECTION).read_bytes() == before


def test_a_replaced_map_is_refused_until_the_collection_is_made_again(folder, maps, tmp_path):
    succeed('map', 'collection', 'create', maps, '--output', maps)
    succeed('map', 'build', folder / 'drive.bag', '--model', 'hog', '--output',
            maps / 'second' / 'map', '--overwrite', '--no-backup')
    said = refusal('localize', folder / 'drive.bag', '--map', maps, '--output', tmp_path / 'out')
    assert 'map collection create --overwrite' in said
