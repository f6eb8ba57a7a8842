"""What the fields of the messages mean: the comments in msg/, checked on what nodes publish."""

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import (
    TOWN_EVERY,
    closing_loops,
    deliver,
    eventually,
    localizing,
    settle,
    show_all,
    wait_for_odometry,
)
from streets import Street

from seqnet_ros.core.poses import make_pose
from seqnet_ros.maps.map_reader import open_map

ROOT = Path(__file__).resolve().parents[2]
SECOND = 10**9
ROUND_M = 60
LOOPS = {'sequence.length': 5, 'loop.exclude_frames': 15, 'loop.exclude_s': 0.0,
         'loop.exclude_m': 0.0, 'robot_id': 'robot 3', 'base_frame': 'base'}

pytestmark = pytest.mark.requires_ros


def nanoseconds(stamp: Any) -> int:
    return stamp.sec * SECOND + stamp.nanosec


def position(pose: Any) -> tuple[float, float, float]:
    return pose.position.x, pose.position.y, pose.position.z


def fields(message: Any) -> set[str]:
    return set(message.get_fields_and_field_types())


@pytest.mark.parametrize('file', sorted((ROOT / 'msg').glob('*.msg')) + sorted(
    (ROOT / 'srv').glob('*.srv')), ids=lambda file: file.name)
def test_every_field_is_explained(file):
    """A comment stands above each block of fields."""
    for block in re.split(r'\n\n|---\n', file.read_text()):
        lines = [line for line in block.splitlines() if line]
        declared = [line for line in lines if not line.startswith('#')]
        if declared and declared[0] != 'uint8 RESULT_SUCCESS=0':
            assert lines[0].startswith('#'), f'{declared[0]} is not explained'


@pytest.mark.parametrize('method', ['filter', 'sequence'])
def test_a_match_means_what_its_comments_say(method, town_map, second_drive):
    place_map = open_map(town_map)
    with localizing(map=str(town_map), robot_id='robot 3', map_frame='town', **TOWN_EVERY, **{
            'localization.method': method}) as (node, peer):
        show_all(node, peer, second_drive[:30])
        settle(node)
        eventually(lambda: len(peer.matches) >= 25, 'matches')
    stamps = [stamp_ns for stamp_ns, _, _ in second_drive]
    for match in peer.matches:
        checked = {'header', 'robot_id', 'map_frame_id', 'map_id'}
        assert nanoseconds(match.header.stamp) in stamps
        assert (match.header.frame_id, match.robot_id, match.map_frame_id, match.map_id) == (
            'camera', 'robot 3', 'town', place_map.manifest.map_id)
        checked |= {'sequence_start'}
        assert nanoseconds(match.sequence_start) <= nanoseconds(match.header.stamp)
        checked |= {'accepted', 'reason', 'candidates'}
        assert match.accepted == (match.reason == match.ACCEPTED)
        scores = [candidate.score for candidate in match.candidates]
        if method == 'filter':
            assert scores == sorted(scores, reverse=True)
        checked |= {'off_map', 'has_pose', 'pose'}
        assert match.has_pose == (method == 'filter' and bool(match.candidates))
        assert np.isnan(match.off_map) == (method == 'sequence')
        if match.has_pose:
            assert 0 <= match.off_map <= 1
            apart = np.subtract(position(match.pose), position(match.candidates[0].pose))
            assert np.linalg.norm(apart) <= 3.5 * place_map.step_m
        checked |= {'describe_seconds', 'match_seconds'}
        assert 0 < match.describe_seconds < 60
        assert 0 <= match.match_seconds < 60
        assert checked == fields(match)
        for candidate in match.candidates:
            check_candidate(candidate, place_map)
    assert any(match.accepted for match in peer.matches) or method == 'sequence'


def check_candidate(candidate: Any, place_map: Any) -> None:
    checked = {'map_id', 'place_id', 'stamp', 'pose'}
    place = candidate.place_id
    assert candidate.map_id == place_map.manifest.map_id
    assert nanoseconds(candidate.stamp) == place_map.stamps_ns[place]
    assert position(candidate.pose) == pytest.approx(place_map.positions[place])
    checked |= {'descriptor_distance', 'sequence_distance', 'score', 'inliers'}
    assert 0 <= candidate.descriptor_distance <= 2.001
    assert 0 <= candidate.sequence_distance <= 2.001
    assert 0 <= candidate.score <= 1
    assert candidate.inliers == 0
    assert checked == fields(candidate)


def test_a_loop_means_what_its_comments_say():
    """Two laps of a street that closes on itself."""
    from seqnet_ros.msg import LoopClosure

    street, radius = Street(7, ROUND_M + 20), 1.01 * ROUND_M / (2 * np.pi)
    with closing_loops(**LOOPS) as (node, peer):
        loops = peer.listen(LoopClosure, 'loop_closer/loop_closure')
        rejected = peer.listen(LoopClosure, 'loop_closer/rejected_loop_closure')
        for x in range(2 * ROUND_M):
            angle = 2 * np.pi * x / ROUND_M
            stamp_ns = (x + 1) * SECOND
            peer.move(make_pose(radius * np.cos(angle), radius * np.sin(angle), yaw=angle),
                      stamp_ns)
            wait_for_odometry(node, stamp_ns)
            image = street.view(x % ROUND_M, seed=1 + x // ROUND_M)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        eventually(lambda: loops and rejected, 'loops and rejected ones')
        settle(node)
    for loop in loops + rejected:
        checked = {'header', 'robot_id', 'reason', 'child_frame_id'}
        assert (loop.header.frame_id, loop.robot_id, loop.child_frame_id) == (
            'camera', 'robot 3', 'base')
        assert (loop.reason == 0) == (loop in loops)
        checked |= {'from_id', 'from_stamp', 'to_id', 'to_stamp', 'map_id'}
        assert nanoseconds(loop.to_stamp) == nanoseconds(loop.header.stamp)
        assert nanoseconds(loop.from_stamp) == (loop.from_id + 1) * SECOND
        assert nanoseconds(loop.to_stamp) == (loop.to_id + 1) * SECOND
        assert loop.map_id == f'drive-{SECOND}'
        checked |= {'has_relative_pose', 'is_metric', 'relative_pose', 'score', 'inliers'}
        assert not loop.has_relative_pose  # there is no geometric check
        assert not loop.is_metric
        assert 0 <= loop.score <= 1
        assert loop.inliers == 0
        assert checked == fields(loop)
    candidates = [one for match in peer.matches for one in match.candidates]
    assert candidates
    assert {one.map_id for one in candidates} == {f'drive-{SECOND}'}
    assert {match.map_frame_id for match in peer.matches} == {'odom'}


def test_the_example_of_the_documentation_reads_matches(town_map, second_drive):
    """The code in docs/nodes.md, as it stands there."""
    from rclpy.executors import SingleThreadedExecutor

    page = (ROOT / 'docs' / 'nodes.md').read_text()
    code, = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    example: dict[str, Any] = {'__name__': 'example'}
    exec(compile(code, 'docs/nodes.md', 'exec'), example)
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        reader = example['ResultReader'](context=node.context)
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(reader)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        eventually(lambda: node.count_subscribers('localizer/place_match') == 2, 'discovery')
        for stamp_ns, image, _ in second_drive[:30]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
            # Queues hold ten messages: nobody may fall behind.
            eventually(lambda: len(reader.places) >= sum(
                match.accepted for match in peer.matches), 'the accepted places so far')
        settle(node)
        eventually(lambda: len(peer.matches) == 30, 'all results')
        accepted = [match for match in peer.matches if match.accepted]
        eventually(lambda: len(reader.places) == len(accepted) > 5, 'all accepted places')
        executor.shutdown()
        thread.join(10.0)
        reader.destroy_node()
    assert [place[2] for place in reader.places] == [
        match.candidates[0].place_id for match in accepted]
