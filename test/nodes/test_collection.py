"""The localizer with a collection of maps, over real middleware."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_harness import (
    Peer,
    assert_same,
    deliver,
    eventually,
    listeners,
    localizing,
    show_all,
    wait_for_odometry,
)
from town_tiles import localize, town_drive

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.map_reader import read_manifest
from seqnet_ros.models.place_model import PlaceModel, load_model

pytestmark = pytest.mark.requires_ros
SETTINGS = {'collection.open_tiles': 3, 'collection.used_tiles': 2, 'collection.reach_m': 5.0}


@pytest.fixture(scope='module')
def model() -> PlaceModel:
    return load_model('hog', device='cpu')


@pytest.fixture(scope='module')
def second() -> list[Frame]:
    return town_drive(seed=2, lateral_offset=0.3)


@pytest.fixture
def node_and_peer(tiled_town: tuple[Path, Path]) -> Iterator[tuple[Any, Peer]]:
    with localizing(map=str(tiled_town[1]), area_topic='/area', fix_topic='/fix',
                    **SETTINGS) as (node, peer):
        yield node, peer


def latched(peer: Peer, topic: str) -> list[Any]:
    """Listen to the names of tiles."""
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import String

    names: list[Any] = []
    peer.node.create_subscription(
        String, topic, lambda message: names.append(message.data),
        QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    return names


def drive_through(node: Any, peer: Peer, drive: list[Frame]) -> None:
    """Send odometry and images."""
    eventually(lambda: peer.odometry.get_subscription_count(), 'discovery of odometry')
    for frame in drive:
        peer.move(frame.pose, frame.stamp_ns)
        wait_for_odometry(node, frame.stamp_ns)
        deliver(node, lambda frame=frame: peer.show(frame.read(), frame.stamp_ns))


def test_the_node_follows_the_robot_from_tile_to_tile(model, tiled_town, second, node_and_peer):
    node, peer = node_and_peer
    _, tiles = tiled_town
    engine = CollectionLocalizer(model, MapCollection(tiles, CollectionConfig(
        open_tiles=3, used_tiles=2, reach_m=5.0)))
    expected = localize(engine, second)
    engine.close()
    names = latched(peer, 'localizer/tile')
    eventually(lambda: listeners(node, '~/tile'), 'discovery of tiles')
    drive_through(node, peer, second)
    eventually(lambda: len(peer.matches) == len(expected), 'a result for every keyframe')
    assert_same(peer.matches, expected)
    assert [name for name in names if name] == ['x1_y0', 'x1_y1']
    ids = {read_manifest(tiles / name)[0].map_id for name in ('x1_y0', 'x1_y1')}
    assert {match.map_id for match in peer.matches if match.accepted} == ids
    late = latched(peer, 'localizer/tile')
    eventually(lambda: late == ['x1_y1'], 'the tile for a late listener')


def test_priors_limit_the_tiles(node_and_peer, second, log):
    from sensor_msgs.msg import NavSatFix
    from std_msgs.msg import String

    node, peer = node_and_peer
    areas = peer.node.create_publisher(String, '/area', 1)
    fixes = peer.node.create_publisher(NavSatFix, '/fix', 1)
    eventually(lambda: areas.get_subscription_count() and fixes.get_subscription_count(),
               'discovery of priors')

    def searched() -> list[str]:
        return [tile.name for tile in node.engine.used_tiles]

    def take(publish: Any, drive: list[Frame], waiting: str) -> None:
        publish()
        eventually(lambda: waiting in node.priors.waiting, 'a prior')
        show_all(node, peer, [(frame.stamp_ns, frame.read(), frame.pose) for frame in drive])

    take(lambda: areas.publish(String(data='x1_y1')), second[:6], 'area')
    assert searched() == ['x1_y1']
    take(lambda: areas.publish(String(data='x1_y0')), second[6:12], 'area')
    assert searched() == ['x1_y0']
    take(lambda: areas.publish(String(data='cellar')), second[12:18], 'area')
    assert searched() == ['x1_y0']
    assert 'no tile has places in area cellar' in log
    fix = NavSatFix(latitude=48.5, longitude=9.1)
    fix.status.status = fix.status.STATUS_FIX
    take(lambda: fixes.publish(fix), second[18:24], 'fix')
    assert 'around 48.500000, 9.100000: no tile says where it is in this way' in log
    values = node.diagnostics.report().values
    assert values['tiles searched'] == 'x1_y0'
    assert values['priors refused'] == 2


def test_a_collection_is_loaded_in_place_of_a_map_and_back(tiled_town, second):
    from seqnet_ros.srv import LoadMap, SaveMap

    whole, tiles = tiled_town
    with localizing(map=str(whole)) as (node, peer):
        answer = peer.call(LoadMap, 'localizer/load_map', path=str(tiles))
        assert answer.result == LoadMap.Response.RESULT_SUCCESS
        assert '2 tiles' in answer.message
        shown = [(frame.stamp_ns, frame.read(), frame.pose) for frame in second[:6]]
        show_all(node, peer, shown)
        assert isinstance(node.engine, CollectionLocalizer)
        answer = peer.call(LoadMap, 'localizer/load_map', path=str(whole), add=True)
        assert answer.result != LoadMap.Response.RESULT_SUCCESS
        assert 'is a collection' in answer.message
        answer = peer.call(SaveMap, 'localizer/save_map', path=str(tiles.parent / 'copy'))
        assert answer.result == SaveMap.Response.RESULT_SEVERAL_MAPS
        assert peer.call(LoadMap, 'localizer/load_map', path=str(whole)).result == 0
        assert not isinstance(node.engine, CollectionLocalizer)
        answer = peer.call(LoadMap, 'localizer/load_map', path=f'{whole}:{tiles}')
        assert answer.result != LoadMap.Response.RESULT_SUCCESS
        assert 'expected it alone' in answer.message
        show_all(node, peer, [(frame.stamp_ns, frame.read(), frame.pose)
                              for frame in second[6:9]])
        eventually(lambda: len(peer.matches) >= 3, 'results with the map')
