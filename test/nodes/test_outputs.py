"""What nodes show and hand on: loops, markers, pictures, poses to start from, several cameras."""

import itertools
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from node_harness import (
    TOWN_EVERY,
    Peer,
    closing_loops,
    deliver,
    eventually,
    listeners,
    localizing,
    mapping,
    raw_message,
    settle,
    show_all,
    wait_for_odometry,
)
from streets import Street

from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu
from seqnet_ros.core.poses import make_pose
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map

pytestmark = pytest.mark.requires_ros

SECOND = 10**9
ROUND_M = 60
SMALL = {'sequence.length': 5, 'loop.exclude_frames': 15, 'loop.exclude_s': 0.0,
         'loop.exclude_m': 0.0}


def latched() -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile

    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


# Loops.


def drive_round(node: Any, peer: Peer, street: Street, places: range) -> None:
    """Drive along a street that closes on itself, a metre a second, with odometry."""
    radius = 1.01 * ROUND_M / (2 * np.pi)
    for x in places:
        angle = 2 * np.pi * x / ROUND_M
        pose = make_pose(radius * np.cos(angle), radius * np.sin(angle), yaw=angle)
        stamp_ns = (x + 1) * SECOND
        peer.move(pose, stamp_ns)
        wait_for_odometry(node, stamp_ns)
        image = street.view(x % ROUND_M, seed=1 + x // ROUND_M)
        deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))


def test_loops_are_published_with_both_ends(tmp_path):
    from seqnet_ros.msg import LoopClosure, PlaceMatch
    from seqnet_ros.srv import SaveMap
    from visualization_msgs.msg import MarkerArray

    with closing_loops(**SMALL) as (node, peer):
        closures = peer.listen(LoopClosure, 'loop_closer/loop_closure')
        rejected = peer.listen(LoopClosure, 'loop_closer/rejected_loop_closure')
        markers = peer.listen(MarkerArray, 'loop_closer/markers')
        eventually(lambda: listeners(node, '~/loop_closure')
                   and listeners(node, '~/rejected_loop_closure'), 'discovery')
        street = Street(1)
        drive_round(node, peer, street, range(2 * ROUND_M))
        settle(node)
        eventually(lambda: len(peer.matches) == 2 * ROUND_M, 'a result for every image')
        accepted = [item for item in peer.matches if item.accepted]
        assert len(accepted) > 20
        eventually(lambda: len(closures) == len(accepted), 'a closure for every accepted match')
        with_candidates = [item for item in peer.matches if item.candidates]
        eventually(lambda: len(closures) + len(rejected) == len(with_candidates),
                   'all others as rejected')
        for closure in closures:
            assert closure.to_id - closure.from_id == ROUND_M
            assert closure.reason == PlaceMatch.ACCEPTED
            assert closure.to_stamp == closure.header.stamp
            assert closure.to_stamp.sec == closure.to_id + 1
            assert closure.from_stamp.sec == closure.from_id + 1
            assert closure.map_id == f'drive-{SECOND}'
            assert not closure.has_relative_pose
            assert closure.header.frame_id == 'camera'
        assert PlaceMatch.ACCEPTED not in {item.reason for item in rejected}
        loops = [marker for array in markers for marker in array.markers if marker.ns == 'loops']
        assert any(marker.points for marker in loops)
        answer = peer.call(SaveMap, 'loop_closer/save_map', path=str(tmp_path / 'drive'))
        assert answer.result == SaveMap.Response.RESULT_SUCCESS
        assert len(open_map(tmp_path / 'drive')) == 2 * ROUND_M
        eventually(lambda: ('loops closed', str(len(closures))) in {
            (item.key, item.value) for report in peer.diagnostics[-1:]
            for item in report.status[0].values}, 'the loops in /diagnostics')


def test_a_standing_robot_publishes_no_loop():
    with closing_loops(**SMALL) as (node, peer):
        street = Street(1)
        drive_round(node, peer, street, range(ROUND_M + 20))
        eventually(lambda: len(peer.matches) == ROUND_M + 20, 'a result for every image')
        before = len([item for item in peer.matches if item.candidates])
        x = ROUND_M + 19
        for n in range(20):
            stamp_ns = (x + 1) * SECOND + n * SECOND // 5
            peer.move(make_pose(*_position(x)), stamp_ns)
            wait_for_odometry(node, stamp_ns)
            image = street.view(x % ROUND_M, seed=100 + n)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        eventually(lambda: peer.matches[-1].reason == peer.matches[-1].STATIONARY,
                   'the word that the robot stands')
        assert len([item for item in peer.matches if item.candidates]) <= before + 1


def _position(x: int) -> tuple[float, float]:
    radius, angle = 1.01 * ROUND_M / (2 * np.pi), 2 * np.pi * x / ROUND_M
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))


# Markers and pictures.


def test_map_and_matches_are_shown(town_map, second_drive):
    from sensor_msgs.msg import Image
    from visualization_msgs.msg import Marker, MarkerArray

    place_map = open_map(town_map)
    with localizing(map=str(town_map), map_frame='world', **TOWN_EVERY) as (node, peer):
        maps = peer.listen(MarkerArray, 'localizer/map_markers', latched())
        eventually(lambda: maps, 'the markers of a map shown before anybody looked')
        dots = next(item for item in maps[-1].markers if item.type == Marker.POINTS)
        assert dots.header.frame_id == 'world'
        np.testing.assert_allclose([[p.x, p.y, p.z] for p in dots.points], place_map.positions)
        markers = peer.listen(MarkerArray, 'localizer/markers')
        pictures = peer.listen(Image, 'localizer/debug_image')
        eventually(lambda: listeners(node, '~/markers')
                   and listeners(node, '~/debug_image'), 'discovery')
        show_all(node, peer, second_drive)
        eventually(lambda: len(markers) == len(pictures) == len(second_drive), 'all of them')
        accepted = next(n for n, item in enumerate(peer.matches) if item.accepted)
        by_name = {item.ns: item for item in markers[accepted].markers}
        assert by_name['match'].pose == peer.matches[accepted].candidates[0].pose
        assert by_name['verdict'].text.startswith('ACCEPTED')
        assert len(by_name['candidates'].points) == len(peer.matches[accepted].candidates)
        picture = pictures[accepted]
        pixels = np.frombuffer(picture.data, np.uint8).reshape(
            picture.height, picture.width, 3)
        assert picture.header.stamp == peer.matches[accepted].header.stamp
        # Query and match of a drive along the same way look alike.
        half = (picture.width - 4) // 2
        left, right = pixels[:240, :half].astype(float), pixels[:240, -half:].astype(float)
        assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.5


def test_nothing_is_drawn_while_nobody_looks(town_map, second_drive, monkeypatch):
    from seqnet_ros.nodes.outputs import visualization as shown

    drawn = []
    monkeypatch.setattr(shown, 'compose', lambda *_: drawn.append(1))
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:10])
        assert not drawn


# A pose to start from.


def test_the_first_accepted_pose_starts_others(town_map, second_drive):
    from geometry_msgs.msg import PoseWithCovarianceStamped

    with localizing(map=str(town_map), publish_initial_pose=True, **TOWN_EVERY) as (node, peer):
        initial = peer.listen(PoseWithCovarianceStamped, 'initialpose')
        eventually(lambda: listeners(node, 'initialpose'), 'discovery')
        show_all(node, peer, second_drive[:25])
        settle(node)
        eventually(lambda: initial and len(peer.poses) > 2, 'poses')
        assert initial == [peer.poses[0]]
        assert min(np.diag(np.reshape(initial[0].pose.covariance, (6, 6)))) > 0
        # A recording that starts anew is another beginning.
        show_all(node, peer, second_drive[:25])
        settle(node)
        eventually(lambda: len(initial) == 2, 'a second first pose')


# Where on the earth.


def test_a_map_with_a_datum_gives_positions_on_the_earth(town_map, second_drive, tmp_path):
    from geographic_msgs.msg import GeoPoseWithCovarianceStamped
    from sensor_msgs.msg import NavSatFix

    datum = GeoPoint(48.1, 11.5, 520.0)
    place_map = open_map(town_map)
    path = tmp_path / 'town'
    save_map(replace(place_map, manifest=place_map.manifest.model_copy(
        update={'datum': Datum.of(datum)})), path)
    with localizing(map=str(path), base_frame='robot', **TOWN_EVERY) as (node, peer):
        fixes = peer.listen(NavSatFix, 'localizer/fix')
        geo_poses = peer.listen(GeoPoseWithCovarianceStamped, 'localizer/geo_pose')
        eventually(lambda: listeners(node, '~/fix') and listeners(node, '~/geo_pose'), 'discovery')
        show_all(node, peer, second_drive[:25])
        settle(node)
        eventually(lambda: peer.poses and len(peer.poses) == len(fixes) == len(geo_poses), 'fixes')
    for pose, fix, geo_pose in zip(peer.poses, fixes, geo_poses, strict=True):
        assert fix.header.stamp == geo_pose.header.stamp == pose.header.stamp
        assert fix.header.frame_id == 'robot'
        assert fix.status.status == fix.status.STATUS_FIX
        assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN
        position = pose.pose.pose.position
        found = np.array([[fix.latitude], [fix.longitude], [fix.altitude]])
        np.testing.assert_allclose(geodetic_to_enu(*found, datum)[0],
                                   [position.x, position.y, position.z], atol=1e-3)
        np.testing.assert_array_equal(
            np.reshape(fix.position_covariance, (3, 3)),
            np.reshape(pose.pose.covariance, (6, 6))[:3, :3])
        assert geo_pose.pose.pose.position.latitude == fix.latitude
        assert geo_pose.pose.pose.orientation == pose.pose.pose.orientation


def test_a_map_without_a_datum_gives_none(town_map, second_drive):
    from sensor_msgs.msg import NavSatFix

    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        fixes = peer.listen(NavSatFix, 'localizer/fix')
        eventually(lambda: listeners(node, '~/fix'), 'discovery')
        show_all(node, peer, second_drive[:25])
        settle(node)
        eventually(lambda: peer.poses, 'poses')
        assert not fixes


# Several cameras.


def pair_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a left and a right camera see of a wide image."""
    middle = image.shape[1] // 2
    return np.ascontiguousarray(image[:, :middle]), np.ascontiguousarray(image[:, middle:])


def test_two_cameras_are_one_place(first_drive, second_drive, tmp_path):
    from sensor_msgs.msg import Image

    path = tmp_path / 'pairs'

    def show_pairs(node: Any, peer: Peer, right: Any, shown: list, late_ns: int = 0) -> None:
        for stamp_ns, image, _ in shown:
            views = pair_of(image)

            def publish(stamp_ns=stamp_ns, views=views) -> None:
                peer.show(views[0], stamp_ns)
                right.publish(raw_message(views[1], stamp_ns + late_ns))

            deliver(node, publish)

    with mapping(map=str(path), cameras=2, use_odometry=False, camera_sync_s=0.005,
                 **TOWN_EVERY) as (node, peer):
        right = peer.node.create_publisher(Image, 'image_1', 10)
        eventually(lambda: node.count_publishers('image_1'), 'discovery')
        show_pairs(node, peer, right, first_drive, late_ns=1_000_000)
        assert node.trigger_deactivate()
    place_map = open_map(path)
    assert len(place_map) == len(first_drive)
    assert place_map.manifest.model.cameras == 2
    assert place_map.manifest.dim == 2 * 1764
    with localizing(map=str(path), camera_sync_s=0.005, **TOWN_EVERY) as (node, peer):
        right = peer.node.create_publisher(Image, 'image_1', 10)
        eventually(lambda: node.count_publishers('image_1'), 'discovery')
        show_pairs(node, peer, right, second_drive)
        eventually(lambda: len(peer.matches) == len(second_drive), 'all results')
        assert any(item.accepted for item in peer.matches)
        # The second camera falls out: nothing is matched by half.
        left = pair_of(second_drive[0][1])[0]
        stamps = iter(range(second_drive[-1][0] + SECOND, 2 * second_drive[-1][0], SECOND // 10))

        def goes_on_alone() -> bool:
            peer.show(left, next(stamps))
            return node.diagnostics.report().values[
                'images without those of the other cameras'] > 0

        eventually(goes_on_alone, 'a count of what is incomplete')
        settle(node)
        assert len(peer.matches) == len(second_drive)


def test_cameras_whose_stamps_never_meet_are_told_so(first_drive, log):
    from sensor_msgs.msg import Image

    with mapping(cameras=2, use_odometry=False, camera_sync_s=0.005, silence_after_s=0.5) as (
            node, peer):
        right = peer.node.create_publisher(Image, 'image_1', 10)
        eventually(lambda: node.count_publishers('image') and node.count_publishers('image_1'),
                   'discovery')
        moments = itertools.count()

        def told() -> bool:
            stamp_ns = next(moments) * SECOND // 10
            for publish in (peer.raw, right):
                publish.publish(raw_message(first_drive[0][1], stamp_ns + 1))
                stamp_ns += SECOND // 20
            time.sleep(0.05)
            return 'differ by more than 0.005 s (camera_sync_s)' in log

        eventually(told, 'a word about camera_sync_s')
        assert not len(node.engine)
