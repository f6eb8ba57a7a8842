"""``map push`` and ``map pull`` as a user calls them, with a real Milvus server."""

from importlib.util import find_spec

import pytest
from command_line import refusal, succeed
from vector_maps import PLACES, vector_map, vector_model

from seqnet_ros.maps.collection.collection_file import read_collection
from seqnet_ros.maps.fleet.address import CREDENTIALS
from seqnet_ros.maps.map_writer import save_map


def test_maps_are_pushed_and_pulled(milvus, tmp_path):
    model = vector_model()
    for number in range(2):
        save_map(vector_map(model, number, 1000.0 * number), tmp_path / f't{number}')
    (tmp_path / 'store').mkdir()
    address, store = milvus.address('commands'), ('--store', tmp_path / 'store')
    assert 'there is no map at' in refusal('map', 'pull', address, '--output', tmp_path / 'x',
                                           *store)
    done = succeed('map', 'push', tmp_path / 't0', address, *store, '--session', 'monday')
    assert f'places written   {PLACES}' in done.stdout
    assert 'sessions         monday' in done.stdout
    done = succeed('map', 'push', tmp_path / 't1', address, *store, '--name', 'east')
    assert 'tiles            2' in done.stdout
    succeed('map', 'pull', address, *store, '--output', tmp_path / 'east', '--tile', 'east')
    assert [tile.name for tile in read_collection(tmp_path / 'east').tiles] == ['east']
    succeed('map', 'collection', 'verify', tmp_path / 'east')
    succeed('map', 'pull', address, *store, '--output', tmp_path / 'monday', '--session', 'monday')
    assert [tile.name for tile in read_collection(tmp_path / 'monday').tiles] == ['t0']
    assert 'no tile of' in refusal('map', 'pull', address, *store, '--output', tmp_path / 'none',
                                   '--session', 'friday')
    assert not (tmp_path / 'none').exists()
    assert 'exists' in refusal('map', 'pull', address, *store, '--output', tmp_path / 'east')


def test_what_is_refused_without_a_server(tmp_path, monkeypatch):
    if find_spec('pymilvus') is None:
        pytest.skip('pymilvus is not installed')
    save_map(vector_map(vector_model(), 1), tmp_path / 'map')
    push = 'map', 'push', tmp_path / 'map'
    assert 'does not answer' in refusal(*push, 'milvus://127.0.0.1:9/x', '--store', tmp_path)
    assert 'is not a folder' in refusal(*push, 'milvus://127.0.0.1:9/x', '--store',
                                        tmp_path / 'none')
    assert 'index' in refusal(*push, 'milvus://127.0.0.1:9/x', '--store', tmp_path, '--index',
                              'IVF')
    monkeypatch.setenv(CREDENTIALS, 'robot:s3cret')
    told = refusal(*push, 'milvus://127.0.0.1:9/x', '--store', tmp_path)
    assert 's3cret' not in told
    assert 'expected milvus://' in refusal(*push, 'https://robot:s3cret@host/x', '--store',
                                           tmp_path)
    assert 'is invalid' in refusal('map', 'pull', 'milvus://127.0.0.1:9/x', '--store', tmp_path,
                                   '--output', tmp_path / 'x', '--region', 'here')
