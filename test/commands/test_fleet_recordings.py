"""``localize`` and ``evaluate bags`` with a map on a Milvus server, which vanishes later."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from command_line import refusal, succeed
from curved_road import record
from milvus_server import MilvusServer, running_server
from streets import Street

from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.evaluation.replay.run_files import read_queries, read_results
from seqnet_ros.maps.fleet.fleet_collection import FleetCollection
from seqnet_ros.pipelines.localize_recording import localize_recording
from seqnet_ros.pipelines.match_files import CSV
from seqnet_ros.pipelines.searched_map import SearchedMap

ADDRESS = 'milvus://127.0.0.1:9/site'


class Site(NamedTuple):
    """Two maps of different streets on a server, and a drive through the second of them."""

    server: MilvusServer
    folder: Path

    @property
    def options(self) -> tuple[object, ...]:
        return '--map', self.server.address('site'), '--store', self.folder / 'store'

    @property
    def drive(self) -> Path:
        return self.folder / 'drive.bag'


@pytest.fixture(scope='module')
def site(milvus_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The maps on a server that tests may kill."""
    folder = tmp_path_factory.mktemp('site')
    for name in ('store', 'maps'):
        (folder / name).mkdir()
    for name, seed in (('first', 1), ('second', 2)):
        record(folder / f'{name}.bag', Street(seed, 260), np.arange(0.0, 200.0))
        succeed('map', 'build', folder / f'{name}.bag', '--model', 'hog', '--output',
                folder / 'maps' / name)
    record(folder / 'drive.bag', Street(2, 260), np.arange(20.0, 150.0), light=5)
    with running_server(milvus_python, tmp_path_factory.mktemp('milvus')) as server:
        made = Site(server, folder)
        for name in ('first', 'second'):
            succeed('map', 'push', folder / 'maps' / name, server.address('site'), '--store',
                    folder / 'store', '--session', name)
        yield made


def matches(output: Path) -> list[dict[str, str]]:
    with (output / CSV).open(newline='') as file:
        return list(csv.DictReader(file))


def accepted(output: Path) -> list[dict[str, str]]:
    return [row for row in matches(output) if row['reason'] == 'accepted']


def test_a_drive_is_found_in_the_right_tile(site, tmp_path):
    succeed('localize', site.drive, *site.options, '--output', tmp_path / 'out', '--cache',
            tmp_path / 'cache')
    assert len(accepted(tmp_path / 'out')) > 60
    assert {row['map'] for row in accepted(tmp_path / 'out')} == {'second'}
    # With copies of all tiles at hand it finds what it found while they were fetched.
    succeed('localize', site.drive, *site.options, '--output', tmp_path / 'again', '--cache',
            tmp_path / 'cache')
    assert matches(tmp_path / 'again') == matches(tmp_path / 'out')
    succeed('localize', site.drive, *site.options, '--output', tmp_path / 'alone', '--cache',
            tmp_path / 'other', '--session', 'first')
    assert {row['map'] for row in matches(tmp_path / 'alone')} <= {'first', ''}
    assert 'no tile of' in refusal(
        'localize', site.drive, *site.options, '--output', tmp_path / 'none', '--cache',
        tmp_path / 'other', '--session', 'third')


def test_a_copy_is_evaluated(site, tmp_path):
    evaluate = 'evaluate', 'bags', '--query-source', site.drive
    fleet = *site.options, '--cache', tmp_path / 'cache'
    assert 'have coordinates of their own' in refusal(
        *evaluate, *fleet, '--output', tmp_path / 'both')
    succeed(*evaluate, *fleet, '--session', 'second', '--output', tmp_path / 'run')
    succeed('map', 'pull', site.server.address('site'), '--store', site.folder / 'store',
            '--session', 'second', '--output', tmp_path / 'pulled')
    succeed(*evaluate, '--map', tmp_path / 'pulled', '--output', tmp_path / 'expected')
    results = read_results(tmp_path / 'run')
    assert results.measures.accepted.right > 60
    assert results.measures.accepted.wrong == 0
    assert results.map.source == str(site.server.address('site'))
    assert read_queries(tmp_path / 'run') == read_queries(tmp_path / 'expected')


def test_a_server_that_vanishes_during_a_run(site, tmp_path, caplog):
    cache = tmp_path / 'cache'
    with SearchedMap(site.server.address('site'), fleet=FleetConfig(
            store=str(site.folder / 'store'), cache=str(cache), check_every_s=0.1)) as opened:
        engine = opened.open_localizer(opened.load_model('', 'cpu', None),
                                       opened.manifest.preset.engine)
        tiles = opened.tiles
        assert isinstance(tiles, FleetCollection)

        @contextmanager
        def killing(what: str, total: int) -> Iterator[object]:
            def show(done: int) -> None:
                if done != total // 2:
                    return
                site.server.kill()
                end = time.monotonic() + 20
                while tiles.watch.is_there and time.monotonic() < end:
                    time.sleep(0.05)

            yield show

        localize_recording(open_source(site.drive), engine, tmp_path / 'out', killing)
        assert not tiles.watch.is_there
    rows = matches(tmp_path / 'out')
    assert len(rows) > 120
    late = [row for row in rows[len(rows) // 2:] if row['reason'] == 'accepted']
    assert len(late) > 40
    assert {row['map'] for row in late} == {'second'}
    told = [record.message for record in caplog.records if 'that are here' in record.message]
    assert len(told) == 1
    assert 'does not answer' in told[0]
    # The copies are there, but which tiles are the newest is not known.
    said = refusal('localize', site.drive, *site.options, '--output', tmp_path / 'late', '--cache',
                   cache)
    assert 'does not answer' in said
    assert 'map pull' in said
    assert not (tmp_path / 'late').exists()


def test_what_is_refused_without_a_server(tmp_path):
    pytest.importorskip('pymilvus')
    record(tmp_path / 'drive.bag', Street(1, 100), np.arange(0.0, 20.0))
    localize = 'localize', tmp_path / 'drive.bag', '--output', tmp_path / 'out'
    store = '--store', tmp_path, '--cache', tmp_path / 'cache'
    assert 'does not answer' in refusal(*localize, '--map', ADDRESS, *store)
    assert 'expected --store' in refusal(*localize, '--map', ADDRESS)
    assert 'expected milvus://' in refusal(*localize, '--map', 'milvus://host', *store)
    assert 'settings of fleet: timeout_s' in refusal(
        *localize, '--map', ADDRESS, *store, '--set', 'fleet.timeout_s=0')
    succeed('map', 'build', tmp_path / 'drive.bag', '--model', 'hog', '--output', tmp_path / 'map')
    for option in (('--session', 'monday'), ('--set', 'fleet.cache_mb=5')):
        assert 'expected --map with the address of a map on a server' in refusal(
            *localize, '--map', tmp_path / 'map', *option)
    assert not (tmp_path / 'out').exists()
