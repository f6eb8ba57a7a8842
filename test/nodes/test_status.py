"""Whether the robot is localized: status, a new start on request, the belief, carried poses."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from node_harness import (
    PATIENCE_S,
    TOWN_EVERY,
    Peer,
    change_state,
    deliver,
    eventually,
    listeners,
    localizing,
    settle,
    show_all,
    wait_for_odometry,
)

from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix
from seqnet_ros.maps.map_reader import open_map

pytestmark = pytest.mark.requires_ros

SECOND = 10**9
DRIFT = make_pose(3.0, -2.0, 0.5, yaw=0.7)
"""Where odometry's origin is in the map."""
DARK = np.zeros((120, 160, 3), np.uint8)


def watched(peer: Peer) -> list[Any]:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from seqnet_ros.msg import LocalizationStatus

    return peer.listen(LocalizationStatus, 'localizer/status', QoSProfile(
        depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL))


def states(heard: list[Any]) -> list[int]:
    """Return the states heard, without repetitions."""
    return [item.state for number, item in enumerate(heard)
            if not number or item.state != heard[number - 1].state]


def ask(peer: Peer, timeout: float = 0.0) -> Callable[[], Any]:
    """Call ~/relocalize; return what returns its answer, or None while there is none."""
    from seqnet_ros.srv import Relocalize

    client = peer.node.create_client(Relocalize, 'localizer/relocalize')
    assert client.wait_for_service(PATIENCE_S)
    future = client.call_async(Relocalize.Request(timeout=timeout))
    return lambda: future.result() if future.done() else None


def answered(asked: Callable[[], Any]) -> Any:
    eventually(lambda: asked() is not None, 'an answer')
    return asked()


def drive_with_odometry(node: Any, peer: Peer, shown: list) -> None:
    from_map = np.linalg.inv(pose_matrix(DRIFT))
    for stamp_ns, image, pose in shown:
        peer.move(pose_from_matrix(from_map @ pose_matrix(pose)), stamp_ns)
        wait_for_odometry(node, stamp_ns)
        deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))


# Status.


def test_the_status_follows_the_robot(town_map, second_drive):
    from seqnet_ros.msg import LocalizationStatus as Status

    with localizing(map=str(town_map), map_frame='town', silence_after_s=1.0,
                    **TOWN_EVERY) as (node, peer):
        heard = watched(peer)
        eventually(lambda: heard, 'a status before any image')
        assert heard[-1].state == Status.NO_INPUT
        assert np.isnan([heard[-1].seconds_since_match, heard[-1].distance_since_match]).all()
        show_all(node, peer, second_drive)
        eventually(lambda: any(item.state == Status.TRACKING for item in heard), 'tracking')
        tracking = next(item for item in heard if item.state == Status.TRACKING)
        assert tracking.header.frame_id == 'town'
        assert tracking.map_id == open_map(town_map).manifest.map_id
        assert tracking.probability >= 0.99
        assert 0 <= tracking.off_map < 0.5
        assert tracking.seconds_since_match == 0
        assert np.isnan(tracking.distance_since_match)
        eventually(lambda: heard[-1].state == Status.NO_INPUT, 'a word that no images arrive')
        count, started = len(heard), time.monotonic()
        eventually(lambda: len(heard) >= count + 3, 'repetitions')
        assert time.monotonic() - started < 3.0
        assert states(heard)[0] == Status.NO_INPUT
        assert change_state(peer, 'localizer', 'deactivate')
        time.sleep(0.6)
        late = watched(peer)
        eventually(lambda: late, 'the last status for who comes late')
        assert late[-1].state == Status.NO_INPUT


def test_a_robot_without_a_map_is_told_so(town_map):
    from seqnet_ros.msg import LocalizationStatus as Status
    from seqnet_ros.srv import LoadMap

    with localizing() as (_, peer):
        heard = watched(peer)
        eventually(lambda: heard and heard[-1].state == Status.NO_MAP, 'a word about the map')
        assert peer.call(LoadMap, 'localizer/load_map', path=str(town_map)).result == 0
        eventually(lambda: heard[-1].state == Status.NO_INPUT, 'a word about the input')


def test_the_sequence_search_has_a_status_without_probabilities(town_map, second_drive):
    from seqnet_ros.msg import LocalizationStatus as Status

    parameters = {**TOWN_EVERY, 'localization.method': 'sequence'}
    with localizing(map=str(town_map), **parameters) as (node, peer):
        heard = watched(peer)
        eventually(lambda: heard, 'discovery')
        show_all(node, peer, second_drive)
        eventually(lambda: any(item.state == Status.TRACKING for item in heard), 'tracking')
        assert Status.CONVERGING in states(heard)
        assert np.isnan([[item.off_map, item.probability] for item in heard]).all()


def test_a_robot_that_tracked_is_lost_after_a_break(town_map, second_drive):
    from seqnet_ros.msg import LocalizationStatus as Status

    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        heard = watched(peer)
        show_all(node, peer, second_drive)
        eventually(lambda: heard and heard[-1].state == Status.TRACKING, 'tracking')
        stamp_ns = second_drive[-1][0] + 60 * SECOND
        show_all(node, peer, [(stamp_ns, DARK, None)])
        # The last images of the drive may have been refused as well.
        eventually(lambda: heard[-1].seconds_since_match >= 60, 'a status of the dark image')
        assert heard[-1].state in (Status.LOST, Status.OFF_MAP)


# A new start on request.


def test_relocalize_answers_with_the_next_accepted_match(town_map, second_drive):
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from seqnet_ros.msg import LocalizationStatus as Status
    from seqnet_ros.srv import Relocalize

    with localizing(map=str(town_map), publish_initial_pose=True, **TOWN_EVERY) as (node, peer):
        initial = peer.listen(PoseWithCovarianceStamped, 'initialpose')
        heard = watched(peer)
        eventually(lambda: listeners(node, 'initialpose') and heard, 'discovery')
        show_all(node, peer, second_drive)
        settle(node)
        eventually(lambda: len(initial) == 1 and len(peer.matches) == len(second_drive),
                   'a first pose')
        asked = ask(peer, 60.0)
        eventually(lambda: node.engine.buffer_fill == 0, 'the drop of the belief')
        eventually(lambda: heard[-1].state == Status.CONVERGING, 'a word of the new start')
        show_all(node, peer, second_drive)
        answer = answered(asked)
        assert answer.result == Relocalize.Response.RESULT_SUCCESS, answer.message
        assert answer.match.accepted
        settle(node)
        eventually(lambda: len(peer.matches) == 2 * len(second_drive), 'all results')
        assert answer.match == next(
            item for item in peer.matches[len(second_drive):] if item.accepted)
        assert str(answer.match.candidates[0].place_id) in answer.message
        eventually(lambda: len(initial) == 2, 'another first pose')
        assert initial[1].header.stamp == answer.match.header.stamp


def test_relocalize_gives_up_after_its_time(town_map, second_drive):
    from seqnet_ros.srv import Relocalize

    codes = Relocalize.Response
    with localizing(map=str(town_map), relocalize_timeout_s=0.5, **TOWN_EVERY) as (node, peer):
        started = time.monotonic()
        answer = answered(ask(peer))
        assert answer.result == codes.RESULT_NO_INPUT
        assert answer.message == 'no image in 0.5 s'
        assert time.monotonic() - started >= 0.5
        asked = ask(peer, 1.0)
        stop = threading.Event()

        def darkness() -> None:
            for number in range(1, 1000):
                if stop.wait(0.05):
                    return
                peer.show(DARK, number * SECOND // 10)

        camera = threading.Thread(target=darkness)
        camera.start()
        try:
            answer = answered(asked)
        finally:
            stop.set()
            camera.join()
        assert answer.result == codes.RESULT_TIMEOUT
        assert answer.message == 'no match was accepted in 1 s'
        assert not answer.match.candidates
        # Images go on as before.
        settle(node)
        before = len(peer.matches)
        show_all(node, peer, second_drive[:3])
        eventually(lambda: len(peer.matches) > before, 'results')


def test_relocalize_says_what_is_wrong(town_map):
    from seqnet_ros.srv import LoadMap, Relocalize
    from std_srvs.srv import Trigger

    codes = Relocalize.Response
    with localizing() as (_, peer):
        assert answered(ask(peer)).result == codes.RESULT_NO_MAP
        assert peer.call(LoadMap, 'localizer/load_map', path=str(town_map)).result == 0
        for wrong in (-1.0, float('nan')):
            assert answered(ask(peer, wrong)).result == codes.RESULT_INVALID_TIMEOUT
        assert peer.call(Trigger, 'localizer/pause').success
        assert answered(ask(peer)).result == codes.RESULT_NO_INPUT
        assert change_state(peer, 'localizer', 'deactivate')
        answer = answered(ask(peer))
        assert answer.result == codes.RESULT_UNDEFINED_FAILURE
        assert 'activate it first' in answer.message


def test_whatever_ends_a_request_says_so(town_map):
    from seqnet_ros.srv import Relocalize
    from std_srvs.srv import Trigger

    codes = Relocalize.Response
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        def waits() -> bool:
            return node.relocalization.waiting

        first = ask(peer, 60.0)
        eventually(waits, 'the wait')
        second = ask(peer, 60.0)
        answer = answered(first)
        assert answer.result == codes.RESULT_CANCELED
        assert 'another request' in answer.message
        assert waits()  # the second one
        # Other services answer meanwhile.
        assert peer.call(Trigger, 'localizer/pause').success
        assert change_state(peer, 'localizer', 'deactivate')
        answer = answered(second)
        assert answer.result == codes.RESULT_CANCELED
        assert 'deactivated' in answer.message
        assert change_state(peer, 'localizer', 'activate')
        third = ask(peer, 60.0)
        eventually(waits, 'the wait')
        assert peer.call(Trigger, 'localizer/clear').success
        assert answered(third).result == codes.RESULT_NO_MAP


# The belief.


def test_the_belief_is_shown_while_somebody_looks(town_map, second_drive):
    from std_srvs.srv import Trigger
    from visualization_msgs.msg import Marker

    place_map = open_map(town_map)
    with localizing(map=str(town_map), map_frame='town', **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive[:5])
        settle(node)
        markers = peer.listen(Marker, 'localizer/belief')
        eventually(lambda: listeners(node, '~/belief'), 'discovery')
        show_all(node, peer, second_drive[5:])
        settle(node)
        eventually(lambda: len(markers) == len(second_drive) - 5, 'a marker for each keyframe')
        last = markers[-1]
        assert (last.type, last.action) == (Marker.POINTS, Marker.ADD)
        assert (last.header.frame_id, last.header.stamp) == (
            'town', peer.matches[-1].header.stamp)
        assert 0 < len(last.points) == len(last.colors) < len(place_map)
        opaque = max(range(len(last.points)), key=lambda row: last.colors[row].a)
        assert last.colors[opaque].a == 1
        shown = last.points[opaque]
        best = peer.matches[-1].candidates[0].place_id
        nearest = np.linalg.norm(place_map.positions - [shown.x, shown.y, shown.z], axis=1)
        assert abs(int(nearest.argmin()) - best) <= 3
        assert peer.call(Trigger, 'localizer/clear').success
        eventually(lambda: markers[-1].action == Marker.DELETEALL, 'the end of the belief')


# Poses between places and between matches.


def test_the_pose_is_between_the_places(town_map, second_drive):
    place_map = open_map(town_map)
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        show_all(node, peer, second_drive)
        settle(node)
        eventually(lambda: len(peer.matches) == len(second_drive), 'all results')
        accepted = [item for item in peer.matches if item.accepted]
        eventually(lambda: len(peer.poses) == len(accepted) > 5, 'poses')
        truth = {stamp_ns: pose for stamp_ns, _, pose in second_drive}
        between = 0
        for pose in peer.poses:
            stamp = pose.header.stamp
            where = pose.pose.pose.position
            position = np.array([where.x, where.y, where.z])
            assert np.linalg.norm(position - truth[stamp.sec * SECOND + stamp.nanosec][:3]) < 3.0
            between += np.linalg.norm(place_map.positions - position, axis=1).min() > 1e-3
            covariance = np.reshape(pose.pose.covariance, (6, 6))
            assert covariance == pytest.approx(covariance.T)
            assert np.linalg.eigvalsh(covariance[:3, :3]).min() >= 0.1**2 * (1 - 1e-9)
        assert between > len(accepted) / 2


def test_odometry_carries_the_pose_between_matches(town_map, second_drive):
    with localizing(map=str(town_map), carry_pose=True, carry_limit_m=6.0,
                    **{**TOWN_EVERY, 'keyframes.every': '1'}) as (node, peer):
        eventually(lambda: node.count_publishers('odometry'), 'discovery')
        heard = watched(peer)
        drive_with_odometry(node, peer, second_drive[:20])
        settle(node)
        eventually(lambda: peer.matches and len(peer.matches) == 20, 'results')
        assert peer.matches[-1].accepted
        before = len(peer.poses)
        start = peer.poses[-1]
        # It gets dark: nothing is accepted, but odometry goes on.
        drive_with_odometry(node, peer, [
            (stamp_ns, DARK, pose) for stamp_ns, _, pose in second_drive[20:]])
        settle(node)
        eventually(lambda: len(peer.matches) == len(second_drive), 'all results')
        time.sleep(0.3)
        refused = [item for item in peer.matches[20:] if not item.accepted]
        carried = peer.poses[before:]
        assert refused, 'darkness is not a place'
        assert 3 <= len(carried) < len(second_drive) - 20, 'six meters of a meter each'
        truth = {stamp_ns: pose for stamp_ns, _, pose in second_drive}
        at_start = truth[start.header.stamp.sec * SECOND + start.header.stamp.nanosec]
        variances = [start.pose.covariance[0]]
        for pose in carried:
            stamp, where = pose.header.stamp, pose.pose.pose.position
            moved = truth[stamp.sec * SECOND + stamp.nanosec][:2] - at_start[:2]
            found = np.array([where.x - start.pose.pose.position.x,
                              where.y - start.pose.pose.position.y])
            assert np.linalg.norm(found - moved) < 1.5
            variances.append(pose.pose.covariance[0])
        assert (np.diff(variances) > 0).all()
        assert heard[-1].distance_since_match > 0
        eventually(lambda: heard[-1].state in (heard[-1].LOST, heard[-1].OFF_MAP), 'the loss')
