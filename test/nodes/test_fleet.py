"""The localizer on a map of a Milvus server that is killed and comes back, over real middleware."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from milvus_server import MilvusServer, running_server
from node_harness import deliver, eventually, localizing
from town_tiles import errors_m, localize, town_drive

from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.maps.collection.collection_file import read_collection
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.fleet.push import push
from seqnet_ros.maps.fleet.server import FleetServer
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.models.place_model import load_model
from seqnet_ros.nodes.diagnostics import Level
from seqnet_ros.pipelines.progress import no_bar

pytestmark = pytest.mark.requires_ros

_BACK_S = 100


@pytest.fixture(scope='module')
def own_server(milvus_python: Path,
               tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A server that may be killed."""
    with running_server(milvus_python, tmp_path_factory.mktemp('own')) as server:
        yield server


def test_the_server_vanishes_under_a_robot(tiled_town, own_server, tmp_path):
    _, tiles = tiled_town
    (tmp_path / 'store').mkdir()
    address = own_server.address('town')
    server = FleetServer(address)
    push(tiles, server, Store(str(tmp_path / 'store')), bars=no_bar)
    server.close()
    parameters = {
        'map': str(address), 'fleet.store': str(tmp_path / 'store'),
        'fleet.cache': str(tmp_path / 'cache'), 'fleet.check_every_s': 0.2, 'fleet.timeout_s': 0.5,
        'use_odometry': False}
    drive = town_drive(seed=2)
    truth = {frame.stamp_ns: frame.pose for frame in drive}

    engine = CollectionLocalizer(load_model('hog', device='cpu'), MapCollection(tiles))
    expected = errors_m(localize(engine, drive, posed=False), drive)  # with files of its own
    engine.close()

    def server_state(node: object) -> str:
        return str(node.diagnostics.report().values['server'])

    def drive_on(node: object, peer: object, frames: list) -> None:
        for frame in frames:
            deliver(node, lambda frame=frame: peer.show(frame.read(), frame.stamp_ns))

    with localizing(**parameters) as (node, peer):
        eventually(lambda: server_state(node) == 'there', 'an answer of the server')
        drive_on(node, peer, drive[:50])
        own_server.kill()
        drive_on(node, peer, drive[50:100])
        eventually(lambda: server_state(node) != 'there', 'noticing that the server is away')
        report = node.diagnostics.report()
        assert report.level is Level.WARN
        assert 'the server of the map is away' in report.message
        drive_on(node, peer, drive[100:130])
        own_server.start()
        end = time.monotonic() + _BACK_S
        while server_state(node) != 'there':
            assert time.monotonic() < end, 'the node did not notice that the server is back'
            time.sleep(0.2)
        drive_on(node, peer, drive[130:])
        assert node.pipeline.statistics.dropped == 0
        accepted = [match for match in peer.matches if match.accepted]
        assert len(accepted) >= 0.8 * len(expected)
        for first, end in ((0, 50), (50, 100), (100, 130), (130, len(drive))):
            assert any(drive[first].stamp_ns <= _stamp(match) <= drive[end - 1].stamp_ns
                       for match in accepted)
        errors = [np.hypot(match.pose.position.x - truth[_stamp(match)][0],
                           match.pose.position.y - truth[_stamp(match)][1]) for match in accepted]
        assert max(errors) < expected.max() + 2
    with localizing(start=False, model='patchnorm', **parameters) as (node, _):
        assert not node.start()  # the tiles were made with another model
        assert 'was made with model' in node.diagnostics.report().message
    own_server.kill()
    with localizing(**parameters) as (node, peer):  # a robot that starts without the server
        assert server_state(node).startswith('away')
        assert node.engine.collection.tiles_here == len(read_collection(tiles).tiles)
        drive_on(node, peer, drive[:30])
        assert any(match.accepted for match in peer.matches)


def _stamp(match: object) -> int:
    return match.header.stamp.sec * 10**9 + match.header.stamp.nanosec


def test_what_a_robot_cannot_start_with(own_server, tmp_path):
    address = own_server.address('nothing')
    with localizing(start=False, map=str(address), **{'fleet.cache': str(tmp_path)}) as (node, _):
        assert not node.start()
        assert 'the store is not named' in node.diagnostics.report().message
    assert FleetConfig().store == ''
