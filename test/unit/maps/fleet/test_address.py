"""Addresses of maps on a server, regions, and entries: what is read, and what is refused."""

import json
import string
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal

from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.extent import Extent, GeoExtent
from seqnet_ros.maps.fleet.address import (
    CERTIFICATE,
    CREDENTIALS,
    is_fleet_address,
    parse_address,
)
from seqnet_ros.maps.fleet.directory import (
    Directory,
    StoredFile,
    TileEntry,
    parse_entry,
)
from seqnet_ros.maps.fleet.region import parse_region
from seqnet_ros.maps.fleet.server import FleetServer, Hits, where
from seqnet_ros.maps.fleet.tile_cache import TileCache
from seqnet_ros.maps.fleet.tile_search import by_distance

NAMES = st.from_regex(r'[A-Za-z_][A-Za-z0-9_]{0,30}', fullmatch=True)
SECRETS = st.text(string.printable.strip(), min_size=8).filter(lambda text: '%' not in text)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CREDENTIALS, raising=False)
    monkeypatch.delenv(CERTIFICATE, raising=False)


def entry(name: str = 'a', version: int = 1, **changed: object) -> TileEntry:
    file = StoredFile(bytes=3, sha256='0' * 64)
    tile = Tile(name=name, map_id=str(changed.pop('map_id', name)), places=4, bytes=5, rows=1,
                scene=(0.5, 0.1, 0.0, 0.1), frame=str(changed.pop('frame', 'site')),
                extent=Extent(low=(0, 0, 0), high=(10, 10, 0)),
                geographic=GeoExtent(south=48, west=9, north=48.1, east=9.1))
    return TileEntry(**{
        'version': version, 'tile': tile, 'session': 'monday', 'model': 'm', 'fingerprint': 'f',
        'dim': 8, 'sequence_length': 5, 'spacing': '1m', 'archive': file, 'rows': file,
        'axes': file, 'store': '/mnt', **changed})


@given(NAMES, st.integers(1, 65535), st.booleans())
def test_an_address_is_read_as_it_is_written(name, port, tls):
    text = f'milvus{"s" if tls else ""}://maps.example:{port}/{name}'
    address = parse_address(text)
    assert str(address) == text
    assert address.url == f'http{"s" if tls else ""}://maps.example:{port}'
    assert parse_address(f'milvus://maps.example/{name}').port == 19530
    assert parse_address(f'milvus://[::1]/{name}').url == 'http://[::1]:19530'


@given(NAMES, SECRETS)
def test_passwords_are_never_shown(name, secret):
    from urllib.parse import quote

    address = parse_address(f'milvus://robot:{quote(secret, safe="")}@host/{name}')
    assert (address.user, address.password) == ('robot', secret)
    assert secret not in str(address)
    assert secret not in repr(address)
    for wrong in (f'milvus://robot:{secret}@/x', f'milvus://robot:{secret}@host/1 x',
                  f'https://robot:{secret}@host/x', f'milvus://robot:{secret}@host:99999/x'):
        told = refusal(lambda wrong=wrong: parse_address(wrong))
        assert told
        assert secret not in told


def test_credentials_of_the_environment(monkeypatch):
    monkeypatch.setenv(CREDENTIALS, 'robot:a:b')
    monkeypatch.setenv(CERTIFICATE, '/etc/ca.pem')
    address = parse_address('milvuss://host/x')
    assert (address.user, address.password, address.certificate) == (
        'robot', 'a:b', '/etc/ca.pem')
    assert parse_address('milvus://other:pw@host/x').user == 'other'
    monkeypatch.setenv(CREDENTIALS, 'robot')
    assert 'not to user:password' in refusal(lambda: parse_address('milvus://host/x'))


@pytest.mark.parametrize('text', [
    'milvus://host', 'milvus://host/', 'milvus:///x', 'milvus://host:0/x', 'milvus://host:x/x',
    'milvus://host/a/b', 'milvus://host/a?tls=1', 'milvus://host/ä', 'milvus://ho st/x',
    'milvus://user@host/x', '/tmp/map', '', 'milvus://[::1/x'])
def test_what_is_no_address(text):
    assert 'expected' in refusal(lambda: parse_address(text))


def test_paths_are_no_addresses():
    assert is_fleet_address('milvuss://h/x')
    assert not any(map(is_fleet_address, ('/a:/b', 'milvus', 'milvus:/x', '~/milvus', '')))


@given(*[st.floats(-80, 80)] * 4)
def test_regions(x, y, other_x, other_y):
    region = parse_region(f'geo:{x!r},{y!r},{other_x!r},{other_y!r}')
    assert region.low == (min(x, other_x), min(y, other_y))
    assert region.high == (max(x, other_x), max(y, other_y))
    assert parse_region(str(region)) == region
    box = entry().tile.geographic
    inside = (region.low[0] <= box.north and box.south <= region.high[0]
              and region.low[1] <= box.east and box.west <= region.high[1])
    assert region.meets(entry().tile) == inside


@pytest.mark.parametrize('text', [
    '', 'xy', 'xy:1,2,3', 'xy:1,2,3,4,5', 'geo:91,0,0,0', 'geo:nan,0,0,0', 'xy:inf,0,0,0',
    'utm:1,2,3,4', 'xy:a,b,c,d'])
def test_what_is_no_region(text):
    assert refusal(lambda: parse_region(text))


def test_the_client_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pymilvus', None)
    server = FleetServer(parse_address('milvus://host/x'))
    assert 'pip install pymilvus' in refusal(server.exists)


def test_the_newest_version_counts():
    directory = Directory.of([entry('a', 1), entry('b', 5), entry('a', 3), entry('a', 2)], 'here')
    assert directory.versions == {'a': 3, 'b': 5}
    assert parse_entry(directory.first.to_text(), 'here') == directory.first


@pytest.mark.parametrize(('changed', 'told'), [
    ({'fingerprint': 'other'}, 'another model'), ({'sequence_length': 6}, 'sequence length'),
    ({'spacing': '2m'}, 'spacing'), ({'dim': 9}, 'dim'), ({'map_id': 'a'}, 'the same map'),
    ({'axes': StoredFile(bytes=3, sha256='1' * 64)}, 'axes')])
def test_tiles_that_do_not_fit_together(changed, told):
    assert told in refusal(lambda: Directory.of([entry('a'), entry('b', **changed)], 'here'))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(list(TileEntry.model_fields)), inner)))
def test_entries_that_are_none(document):
    assert 'holds an entry that is none' in refusal(
        lambda: parse_entry(json.dumps(document), 'here'))


def test_an_entry_that_leads_out_of_its_folder():
    document = json.loads(entry().to_text())
    document['tile']['name'] = '../../etc'
    assert 'inside the folder' in refusal(lambda: parse_entry(json.dumps(document), 'here'))


@pytest.mark.parametrize('map_id', ['../../../etc', '/etc', '..', 'a/b', '\x00', 'x' * 200])
def test_copies_stay_in_their_folder(tmp_path, map_id):
    cache = TileCache(parse_address('milvus://host/x'), FleetConfig(cache=str(tmp_path)))
    path = cache.path_of(entry('a', map_id=map_id))
    assert path.parent == cache.folder / 'tiles'
    assert path.name.isalnum()


def test_conditions_quote_what_they_are_given():
    assert where(tiles=['a" or place > 0 or tile == "'], session='x', box=(0, 1, 2, 3)) == (
        r'tile in ["a\" or place > 0 or tile == \""] and session == "x" and '
        'x >= 0 and x <= 2 and y >= 1 and y <= 3')
    assert where() == ''


def test_tiles_are_ordered_by_what_all_queries_find():
    def hits(**distances: float) -> Hits:
        return Hits(np.array(list(distances.values())), list(distances), np.arange(len(distances)))

    # b is second for both, a first for one and not found for the other.
    assert by_distance([hits(a=0.5, b=0.6, c=1.0), hits(c=0.5, b=0.6, d=1.2)]) == [
        'b', 'c', 'a', 'd']
    assert by_distance([]) == []
