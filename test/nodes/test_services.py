"""Services and settings of running nodes: find_place, pause, clear, several maps, live changes."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from curved_road import drive, images, moved, road
from node_harness import (
    ON_THE_MAP,
    TOWN_EVERY,
    Peer,
    change_state,
    deliver,
    eventually,
    localizing,
    mapping,
    offline,
    raw_message,
    render,
    set_parameter,
    settle,
    show_all,
    wait_for_odometry,
    with_keyframes,
)
from sequence_search import METHODS
from sequence_search import PARAMETERS as SEQUENCES
from streets import Street

from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import PlaceModel, load_model

pytestmark = pytest.mark.requires_ros


@pytest.fixture(scope='module')
def model() -> PlaceModel:
    return load_model('hog', device='cpu')


@pytest.fixture(scope='module')
def elsewhere(model: PlaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of another part of the town."""
    mapper = Mapper(model, with_keyframes(model, every='1'))
    for stamp_ns, image, pose in render(seed=4, count=40, start=200.0):
        mapper.push(image, stamp_ns, pose)
    path = tmp_path_factory.mktemp('maps') / 'elsewhere'
    save_map(mapper.finish('elsewhere', 'exact'), path)
    return path


def trigger(peer: Peer, name: str) -> Any:
    from std_srvs.srv import Trigger

    return peer.call(Trigger, name)


# find_place.


def find(peer: Peer, **fields: Any) -> Any:
    from seqnet_ros.srv import FindPlace

    return peer.call(FindPlace, 'localizer/find_place', **fields)


def test_find_place_gives_what_the_engine_gives(model, town_map, second_drive):
    from seqnet_ros.srv import FindPlace

    asked = second_drive[10:15]
    expected = Localizer(model, open_map(town_map, model), with_keyframes(model, every='1')).find(
        [image for _, image, _ in asked])
    with localizing(map=str(town_map), **TOWN_EVERY) as (_, peer):
        answer = find(peer, images=[raw_message(image, stamp_ns) for stamp_ns, image, _ in asked])
        assert answer.result == FindPlace.Response.RESULT_SUCCESS
        match = answer.match
        assert match.accepted == expected.accepted
        assert [item.place_id for item in match.candidates] == [
            item.place_id for item in expected.candidates]
        assert abs(match.candidates[0].place_id - 14) <= 2
        assert match.header.stamp.sec * 10**9 + match.header.stamp.nanosec == asked[-1][0]
        assert str(match.candidates[0].place_id) in answer.message


def test_find_place_takes_compressed_images_and_leaves_the_live_sequence_alone(
        model, town_map, second_drive):
    from sensor_msgs.msg import CompressedImage

    png = [CompressedImage(format='png', data=cv2.imencode('.png', image[..., ::-1])[1].tobytes())
           for _, image, _ in second_drive[20:25]]
    expected = offline(model, town_map, second_drive, every='1', min_change=0.0)
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:15])
        assert abs(find(peer, compressed_images=png).match.candidates[0].place_id - 24) <= 2
        show_all(node, peer, second_drive[15:])
        eventually(lambda: len(peer.matches) == len(expected), 'all results')
        assert [item.candidates[0].place_id for item in peer.matches if item.candidates] == [
            item.best.place_id for item in expected if item.best]


def test_find_place_says_what_is_wrong(town_map, second_drive):
    from sensor_msgs.msg import CompressedImage, Image
    from seqnet_ros.srv import FindPlace

    codes = FindPlace.Response
    image = raw_message(second_drive[0][1], 1)
    with localizing(**TOWN_EVERY) as (_, peer):
        assert find(peer, images=[image]).result == codes.RESULT_NO_MAP
    with localizing(map=str(town_map), **TOWN_EVERY) as (_, peer):
        assert find(peer).result == codes.RESULT_NO_IMAGES
        both = find(peer, images=[image], compressed_images=[CompressedImage(format='jpeg')])
        assert both.result == codes.RESULT_NO_IMAGES
        assert 'found 1 raw and 1 compressed images' in both.message
        broken = find(peer, images=[Image(height=4, width=4, encoding='rgb8', step=12)])
        assert broken.result == codes.RESULT_INVALID_IMAGE
        assert find(peer, images=[image]).result == codes.RESULT_SUCCESS


# Pause, resume, clear.


def test_a_paused_node_leaves_images_unread(town_map, second_drive):
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:6])
        eventually(lambda: len(peer.matches) == 6, 'results')
        answer = trigger(peer, 'localizer/pause')
        assert (answer.success, answer.message) == (True, 'paused')
        assert trigger(peer, 'localizer/pause').message == 'paused already'
        received = node.pipeline.statistics.received
        peer.show(second_drive[6][1], second_drive[6][0])
        eventually(lambda: node.pipeline.statistics.received > received, 'the arrival of an image')
        settle(node)
        assert node.pipeline.statistics.ignored >= 1
        assert len(peer.matches) == 6
        eventually(lambda: peer.diagnostics
                   and peer.diagnostics[-1].status[0].message.startswith('paused'),
                   'a word in /diagnostics')
        assert trigger(peer, 'localizer/resume').message == 'running'
        show_all(node, peer, second_drive[7:9])
        eventually(lambda: len(peer.matches) == 8, 'results after the pause')


def test_only_an_active_node_can_be_paused(town_map):
    with localizing(start=False, map=str(town_map)) as (_, peer):
        answer = trigger(peer, 'localizer/pause')
        assert not answer.success
        assert 'activate it first' in answer.message


def test_clear_takes_the_map_away(town_map, second_drive):
    from seqnet_ros.srv import LoadMap

    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:6])
        answer = trigger(peer, 'localizer/clear')
        assert answer.success
        assert str(town_map) in answer.message
        before = len(peer.matches)
        show_all(node, peer, second_drive[6:8])
        assert len(peer.matches) == before
        assert peer.call(LoadMap, 'localizer/load_map', path=str(town_map)).result == 0
        show_all(node, peer, second_drive[8:10])
        eventually(lambda: len(peer.matches) == before + 2, 'results with the map back')


def test_clear_begins_a_new_map(first_drive, tmp_path):
    from seqnet_ros.srv import SaveMap

    with mapping(use_odometry=False, **TOWN_EVERY) as (node, peer):
        show_all(node, peer, first_drive[:9])
        assert trigger(peer, 'mapper/clear').message == 'discarded 9 places'
        show_all(node, peer, first_drive[9:13])
        peer.call(SaveMap, 'mapper/save_map', path=str(tmp_path / 'map'))
        assert len(open_map(tmp_path / 'map')) == 4


# Several maps, and maps that change.


@pytest.mark.parametrize('method', METHODS)
def test_several_maps_are_searched_at_once(method, model, town_map, elsewhere, second_drive):
    ids = [open_map(path).manifest.map_id for path in (elsewhere, town_map)]
    with localizing(map=f'{elsewhere}:{town_map}', **TOWN_EVERY,
                    **{'localization.method': method}) as (node, peer):
        show_all(node, peer, second_drive)
        eventually(lambda: len(peer.matches) == len(second_drive), 'all results')
        late = [item for item in peer.matches[15:] if item.candidates]
        assert [item.map_id for item in late] == [ids[1]] * len(late)
        assert any(item.accepted for item in late)
        # The filter names no place of the other map once it is certain.
        named = late if method == 'sequence' else peer.matches
        assert {item.map_id for match in named for item in match.candidates} == set(ids)
        assert len(peer.poses) == sum(item.accepted for item in peer.matches)
        both = str(len(open_map(town_map)) + len(open_map(elsewhere)))
        eventually(lambda: ('map places', both) in {
            (item.key, item.value) for report in peer.diagnostics[-1:]
            for item in report.status[0].values}, 'both maps in /diagnostics')


def test_a_map_is_added_and_replaced_without_losing_an_image(
        model, town_map, elsewhere, second_drive):
    from seqnet_ros.srv import LoadMap

    with localizing(map=str(elsewhere), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:12])
        answer = peer.call(LoadMap, 'localizer/load_map', path=str(town_map), add=True)
        assert answer.result == LoadMap.Response.RESULT_SUCCESS
        assert str(elsewhere) in answer.message
        assert str(town_map) in answer.message
        show_all(node, peer, second_drive[12:13])
        eventually(lambda: len(peer.matches) == 13, 'a result right after the map was added')
        assert peer.matches[-1].candidates, 'the sequence did not start anew'
        assert peer.call(LoadMap, 'localizer/load_map', path=str(town_map)).result == 0
        show_all(node, peer, second_drive[13:])
        eventually(lambda: len(peer.matches) == len(second_drive), 'all results')
        assert all(item.candidates for item in peer.matches[13:])
        assert {item.map_id for item in peer.matches[13:]} == {open_map(town_map).manifest.map_id}
        assert node.pipeline.statistics.dropped == 0


def test_a_map_that_cannot_be_added_leaves_the_one_in_use(town_map, tmp_path, second_drive):
    from seqnet_ros.srv import LoadMap

    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        answer = peer.call(
            LoadMap, 'localizer/load_map', path=f'{town_map}:{tmp_path / "none"}', add=True)
        assert answer.result == LoadMap.Response.RESULT_MAP_NOT_FOUND
        show_all(node, peer, second_drive[:6])
        eventually(lambda: len(peer.matches) == 6 and peer.matches[-1].candidates, 'results')


@pytest.fixture(scope='module')
def longer(model: PlaceModel, town_map: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The map of the town for sequences of eight images."""
    engine = model.engine.with_length(8)
    place_map = open_map(town_map, model)
    place_map = dataclasses.replace(
        place_map, manifest=place_map.manifest.model_copy(update={'engine': engine}))
    path = tmp_path_factory.mktemp('maps') / 'longer'
    save_map(prepare_map(place_map, model, engine), path)
    return path


def test_a_map_in_use_is_not_added_once_more(town_map, longer):
    from seqnet_ros.srv import LoadMap

    with localizing(map=str(town_map)) as (node, peer):
        for path, add in ((str(town_map), True), (f'{longer}:{longer}', False)):
            answer = peer.call(LoadMap, 'localizer/load_map', path=path, add=add)
            assert answer.result == LoadMap.Response.RESULT_DUPLICATE_MAP
            assert 'is given 2 times, expected different maps' in answer.message
        assert node.map_paths == (town_map,)
        assert node.get_parameter('sequence.length').value == 5
        assert node.engine.sequence_length == 5


def test_a_map_of_other_settings_is_read_as_it_was_saved(model, town_map, longer):
    from seqnet_ros.srv import LoadMap

    with localizing(map=str(town_map)) as (node, peer):
        assert peer.call(LoadMap, 'localizer/load_map', path=str(longer)).result == 0
        assert node.engine.sequence_length == 8
        # What is read is read-only; what a pass over the map makes is not.
        assert not node.engine.map.sequences.flags.writeable


@pytest.mark.parametrize('path', [':', '~nobody-of-this-name/map'])
def test_a_path_that_names_no_map_is_refused_in_words(path, town_map):
    from rclpy.parameter import Parameter
    from seqnet_ros.srv import LoadMap

    with localizing(start=False, map=path) as (node, peer):
        assert not node.start()
        node.set_parameters([Parameter('map', value=str(town_map))])
        assert node.start()
        answer = peer.call(LoadMap, 'localizer/load_map', path=path)
        assert path in answer.message
        assert 'expected its directory' in answer.message or 'unknown' in answer.message


def test_a_session_is_added_to_a_map(model, town_map, tmp_path):
    path = tmp_path / 'town'
    save_map(open_map(town_map), path)
    before = len(open_map(path))
    session = render(seed=6, count=12, start=60.0)
    with mapping(map=str(path), extend=True) as (node, peer):
        eventually(lambda: node.count_publishers('odometry'), 'discovery')
        for stamp_ns, image, pose in session:
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        assert node.trigger_deactivate()
    extended = open_map(path, model)
    assert len(extended) == before + len(session)
    assert extended.images is not None
    np.testing.assert_allclose(
        extended.poses[before:], [pose for *_, pose in session], atol=1e-9)
    assert extended.segment_starts[-1] == before
    assert extended.manifest.calibration is not None


def drive_with_odometry(path: Path, street: Street, ways_m: np.ndarray, way: str,
                        meanwhile: Callable[[], object] = lambda: None) -> None:
    """Let a mapper add a drive, whose odometry begins elsewhere, to the map at a path.

    Args:
        path: the map.
        street: where it drives.
        ways_m: where on the road the images are taken.
        way: 'align' or 'refresh'.
        meanwhile: what another process does during the drive.
    """
    with mapping(map=str(path), extend=True, **{way: True}) as (node, peer):
        eventually(lambda: node.count_publishers('odometry'), 'discovery')
        for image, stamp_ns, pose in images(street, ways_m, elsewhere=True):
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        meanwhile()
        assert node.trigger_deactivate()


def test_a_session_with_odometry_of_its_own_is_aligned_with_the_map(model, tmp_path):
    pytest.importorskip('gtsam', reason='GTSAM is not installed')
    path, street, ways = tmp_path / 'road', Street(1, 200), np.arange(8.0, 88.0, 1.25)
    save_map(drive(Mapper(model), street, np.arange(0.0, 120.0)).finish('road', 'exact'), path)
    before = len(open_map(path))
    drive_with_odometry(path, street, ways, 'align')
    added = open_map(path, model).positions[before:, :2]
    assert len(added) == len(ways)
    apart = np.linalg.norm(added - [road(way)[:2] for way in ways], axis=1)
    assert np.sqrt((apart ** 2).mean()) < 0.5


def test_a_drive_refreshes_the_map_it_goes_along(model, tmp_path):
    pytest.importorskip('gtsam', reason='GTSAM is not installed')
    path, street, ways = tmp_path / 'road', Street(1, 200), np.arange(8.0, 88.0, 1.25)
    save_map(drive(Mapper(model), street, np.arange(0.0, 120.0)).finish('road', 'exact'), path)
    before = len(open_map(path))
    drive_with_odometry(path, street, ways, 'refresh')
    refreshed = open_map(path, model)
    assert len(refreshed) == before  # the street looks the same
    assert len(open_map(tmp_path / 'road~1', model)) == before
    driven = [view for view in refreshed.manifest.views if 8 <= view.first < view.end <= 88]
    assert driven
    assert all(view.matched == 1 for view in driven)


def test_a_map_is_refreshed_only_where_it_is_extended(tmp_path, log):
    with mapping(start=False, map=str(tmp_path / 'new'), refresh=True) as (_, peer):
        assert not change_state(peer, 'mapper', 'configure')
        eventually(lambda: 'refresh is set without extend' in log, 'the reason in the log')


@pytest.mark.parametrize('way', ['align', 'refresh'])
def test_a_session_that_cannot_be_aligned_is_saved_beside_the_map(model, tmp_path, way):
    pytest.importorskip('gtsam', reason='GTSAM is not installed')
    path, ways = tmp_path / 'road', np.arange(8.0, 40.0, 1.25)
    save_map(drive(Mapper(model), Street(1, 200), np.arange(0.0, 120.0)).finish(
        'road', 'exact'), path)
    saved = open_map(path).manifest.map_id
    drive_with_odometry(path, Street(2, 200), ways, way)
    assert open_map(path).manifest.map_id == saved
    beside = open_map(tmp_path / 'road~1', model)
    assert len(beside) == len(ways)
    np.testing.assert_allclose(beside.poses[0], moved(road(ways[0])), atol=1e-6)


def test_a_session_that_no_longer_fits_the_map_is_saved_beside_it(model, tmp_path):
    pytest.importorskip('gtsam', reason='GTSAM is not installed')
    path, street, ways = tmp_path / 'road', Street(1, 200), np.arange(8.0, 88.0, 1.25)
    first = drive(Mapper(model), street, np.arange(0.0, 120.0)).finish('road', 'exact')
    save_map(first, path)
    other = drive(Mapper(model, keep_images=True), street, np.arange(0.0, 100.0)).finish(
        'another', 'exact')
    drive_with_odometry(path, street, ways, 'align',
                        lambda: save_map(other, path, overwrite=True, backup=False))
    assert open_map(path).manifest.map_id == other.manifest.map_id
    beside = open_map(tmp_path / 'road~1', model)
    assert len(beside) == len(ways)
    np.testing.assert_allclose(beside.poses[0], moved(road(ways[0])), atol=1e-6)


# Settings that change while the node runs.


def test_engine_settings_are_applied_at_once(town_map, second_drive):
    with localizing(map=str(town_map), **TOWN_EVERY, **ON_THE_MAP) as (node, peer):
        show_all(node, peer, second_drive[:20])
        eventually(lambda: len(peer.matches) == 20, 'results')
        assert peer.matches[-1].accepted
        assert set_parameter(peer, 'acceptance.false_positive_rate', 1e-15) == ''
        eventually(lambda: node.config.acceptance.false_positive_rate == 1e-15, 'the new rate')
        show_all(node, peer, second_drive[20:22])
        eventually(lambda: len(peer.matches) == 22, 'results')
        assert not any(item.accepted for item in peer.matches[-2:])
        assert set_parameter(peer, 'acceptance.false_positive_rate', 0.01) == ''
        assert set_parameter(peer, 'matching.candidates', 1) == ''
        eventually(lambda: node.config.matching.candidates == 1, 'one candidate')
        show_all(node, peer, second_drive[22:24])
        eventually(lambda: len(peer.matches) == 24, 'results')
        for item in peer.matches[-2:]:
            assert item.accepted
            assert len(item.candidates) == 1
        assert abs(peer.matches[-1].candidates[0].place_id - 23) <= 2
        for method in reversed(METHODS):
            before = len(peer.matches)
            assert set_parameter(peer, 'localization.method', method) == ''
            eventually(lambda method=method: node.config.localization.method == method, method)
            show_all(node, peer, second_drive[before:before + 2])
            eventually(lambda before=before: len(peer.matches) == before + 2, 'results')
            # The filter begins without a belief here.
            assert peer.matches[-1].candidates
            if method == 'sequence':
                assert abs(peer.matches[-1].candidates[0].place_id - before - 1) <= 2


def test_settings_of_sequences_are_applied_at_once(town_map, second_drive):
    with localizing(map=str(town_map), **TOWN_EVERY, **SEQUENCES) as (node, peer):
        show_all(node, peer, second_drive[:20])
        eventually(lambda: len(peer.matches) == 20, 'results')
        assert peer.matches[-1].accepted
        assert set_parameter(peer, 'acceptance.min_margin', 1.0) == ''
        eventually(lambda: node.config.acceptance.min_margin == 1.0, 'the new margin')
        show_all(node, peer, second_drive[20:22])
        eventually(lambda: len(peer.matches) == 22, 'results')
        assert [item.reason for item in peer.matches[-2:]] == [peer.matches[0].AMBIGUOUS] * 2
        assert set_parameter(peer, 'acceptance.min_margin', 0.02) == ''
        assert set_parameter(peer, 'matching.candidates', 1) == ''
        assert set_parameter(peer, 'sequence.length', 3) == ''
        eventually(lambda: node.engine.sequence_length == 3, 'the new length')
        show_all(node, peer, second_drive[22:24])
        eventually(lambda: len(peer.matches) == 24, 'results')
        assert [len(item.candidates) for item in peer.matches[-2:]] == [1, 1]
        assert abs(peer.matches[-1].candidates[0].place_id - 23) <= 2


def test_settings_that_do_not_work_are_told_and_not_used(town_map, second_drive, log):
    assert_refused = 'min_speed 2.0 is above max_speed 1.25'
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:6])
        assert assert_refused in set_parameter(peer, 'matching.min_speed', 2.0)
        time.sleep(0.1)
        settle(node)
        assert node.config.matching.min_speed == 0.8
        show_all(node, peer, second_drive[6:8])
        eventually(lambda: len(peer.matches) == 8, 'results go on')
