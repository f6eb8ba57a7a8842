"""The nodes over real middleware: lifecycle, inputs, outputs, services and diagnostics."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from image_sets import image_set
from node_harness import (
    ON_THE_MAP,
    PATIENCE_S,
    TOWN_EVERY,
    assert_same,
    change_state,
    deliver,
    eventually,
    localizing,
    mapping,
    offline,
    raw_message,
    set_parameter,
    settle,
    spinning,
    state,
    wait_for_odometry,
    with_keyframes,
)
from sequence_search import PARAMETERS as SEQUENCES

from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import PlaceModel, load_model

pytestmark = pytest.mark.requires_ros

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def model() -> PlaceModel:
    return load_model('hog', device='cpu')


# Results.


def test_raw_images_give_what_the_engine_gives(model, town_map, second_drive):
    expected = offline(model, town_map, second_drive, every='1', min_change=0.0)
    assert sum(item.accepted for item in expected) > 4
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        for stamp_ns, image, _ in second_drive:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == len(expected), 'a result for every image')
        assert node.pipeline.statistics.dropped == 0
        assert_same(peer.matches, expected)
        last = peer.matches[-1]
        assert last.header.frame_id == 'camera'
        assert last.map_id == open_map(town_map).manifest.map_id
        assert last.describe_seconds > 0
        assert last.match_seconds > 0
        accepted = [item for item in expected if item.accepted]
        eventually(lambda: len(peer.poses) == len(accepted), 'a pose for every accepted match')
        time.sleep(0.2)
        assert len(peer.poses) == len(accepted)
        for pose, result in zip(peer.poses, accepted, strict=True):
            assert pose.header.frame_id == 'map'
            assert pose.pose.pose.position.x == result.pose[0]
            covariance = np.array(pose.pose.covariance).reshape(6, 6)
            assert np.isfinite(covariance).all()
            assert (np.linalg.eigvalsh(covariance) > 1e-3).all()


def test_compressed_photographs_give_what_the_engine_gives(model, shared_data, tmp_path):
    from sensor_msgs.msg import CompressedImage

    from seqnet_ros.core.images import read_image
    from seqnet_ros.nodes.conversions import stamp_from_ns

    folder = image_set(shared_data, 'gardens_point')
    left, right = (sorted((folder / name).glob('*.jpg'))[:60]
                   for name in ('day_left', 'day_right'))
    mapper = Mapper(model, with_keyframes(model, every='1'))
    for number, file in enumerate(left):
        mapper.push(read_image(file), number * 10**9 + 1)
    save_map(mapper.finish(), tmp_path / 'gardens')
    shown = [(number * 10**9 + 1, read_image(file), np.zeros(7))
             for number, file in enumerate(right)]
    expected = offline(model, tmp_path / 'gardens', shown, every='1', min_change=0.0)
    with localizing(map=str(tmp_path / 'gardens'), image_transport='compressed',
                    **TOWN_EVERY) as (node, peer):
        for (stamp_ns, _, _), file in zip(shown, right, strict=True):
            message = CompressedImage(format='jpeg', data=file.read_bytes())
            message.header.stamp = stamp_from_ns(stamp_ns)
            deliver(node, lambda message=message: peer.compressed.publish(message))
        eventually(lambda: len(peer.matches) == len(expected), 'a result for every image')
        assert_same(peer.matches, expected)
    near = [abs(item.best.place_id - number) <= 2 for number, item in enumerate(expected)
            if item.best]
    assert np.mean(near) > 0.5


def test_a_bag_through_the_node_gives_what_localize_writes(shared_data, tmp_path):
    """From the command line to the live node: one bag, the same places, all with the defaults."""
    import csv

    from sensor_msgs.msg import CompressedImage
    from typer.testing import CliRunner

    from seqnet_ros.cli.main import app
    from seqnet_ros.datasets.recordings.rosbag import Bag
    from seqnet_ros.nodes.conversions import stamp_from_ns

    def command(*words: object) -> None:
        outcome = CliRunner().invoke(app, [str(word) for word in words])
        assert outcome.exit_code == 0, outcome.output

    for name in ('day_left', 'day_right'):
        (tmp_path / name).mkdir()
        for file in sorted((image_set(shared_data, 'gardens_point') / name).glob('*.jpg'))[:80]:
            (tmp_path / name / file.name).symlink_to(file)
    command('map', 'build', '--model', 'hog', tmp_path / 'day_left', '--output', tmp_path / 'map')
    command('bag', 'write', tmp_path / 'day_right', '--output', tmp_path / 'bag', '--compressed')
    command('localize', tmp_path / 'bag', '--map', tmp_path / 'map', '--output', tmp_path / 'out')
    with (tmp_path / 'out' / 'matches.csv').open(newline='') as file:
        expected = list(csv.DictReader(file))
    bag = Bag(tmp_path / 'bag')
    with localizing(map=str(tmp_path / 'map'), image_transport='compressed') as (node, peer):
        for recorded in bag.messages(bag.topics[0]):
            fields = bag.decode(recorded)
            message = CompressedImage(format=fields.format, data=fields.data.tobytes())
            message.header.stamp = stamp_from_ns(recorded.stamp_ns)
            deliver(node, lambda message=message: peer.compressed.publish(message))
        eventually(lambda: len(peer.matches) == len(expected), 'a result for every row')
        assert node.pipeline.statistics.dropped == 0
    assert len(expected) == 80
    assert [Reason(match.reason).name.lower() for match in peer.matches] == [
        row['reason'] for row in expected]
    assert [str(match.candidates[0].place_id) if match.candidates else ''
            for match in peer.matches] == [row['place_id'] for row in expected]
    assert sum(match.accepted for match in peer.matches) > 10


def test_odometry_spaces_the_sequence(model, town_map, second_drive):
    expected = offline(model, town_map, second_drive, poses=True, every='2m')
    assert 8 < len(expected) < 0.7 * len(second_drive)
    with localizing(map=str(town_map), **{'keyframes.every': '2m'}) as (node, peer):
        eventually(lambda: peer.odometry.get_subscription_count(), 'discovery of odometry')
        for stamp_ns, image, pose in second_drive:
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        eventually(lambda: len(peer.matches) == len(expected), 'a result for every keyframe')
        assert_same(peer.matches, expected)


def test_a_standing_robot_says_so_once_a_second(town_map, second_drive):
    _, image, pose = second_drive[0]
    with localizing(map=str(town_map), **{'keyframes.every': '2m'}) as (node, peer):
        eventually(lambda: peer.odometry.get_subscription_count(), 'discovery of odometry')
        for tick in range(41):
            stamp_ns = (tick + 1) * 10**8
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns: peer.show(image, stamp_ns))
        settle(node)
        eventually(lambda: len(peer.matches) >= 4, 'results')
        time.sleep(0.2)
        assert peer.matches[0].reason not in (Reason.ACCEPTED, Reason.STATIONARY)
        assert [match.reason for match in peer.matches[1:]] == [Reason.STATIONARY] * 3
        assert not peer.poses


def test_a_seqnet_model_gives_in_the_node_what_the_engine_gives(
        first_drive, second_drive, tmp_path):
    """The hierarchical search of SeqNet: weights for sequences, and others for single frames."""
    import torch

    from seqnet_ros.sequences.seqnet_aggregators import SeqNet
    from seqnet_ros.training.seqnet.model import create_model
    from seqnet_ros.training.seqnet.run import SeqNetRun

    (tmp_path / 'frames.yaml').write_text(
        'image: {height: 64, width: 64}\nframe: {kind: hog, cell: 16, block: 32}\n')
    torch.manual_seed(0)
    runs = [SeqNetRun(SeqNet(324, out_dim, kernel).eval(), flags={'seqL': length})
            for out_dim, kernel, length in ((64, 3, 5), (48, 1, 1))]
    create_model(runs[0], tmp_path / 'frames.yaml', tmp_path / 'hvpr.yaml', runs[1])
    model = load_model(tmp_path / 'hvpr.yaml', device='cpu')
    mapper = Mapper(model, with_keyframes(model, every='1'))
    for stamp_ns, image, pose in first_drive:
        mapper.push(image, stamp_ns, pose)
    save_map(mapper.finish(), tmp_path / 'map')
    assert open_map(tmp_path / 'map', model).projected.shape == (len(first_drive), 48)
    expected = offline(model, tmp_path / 'map', second_drive, method='sequence', every='1',
                       min_change=0.0)
    with localizing(map=str(tmp_path / 'map'), **TOWN_EVERY, **SEQUENCES) as (node, peer):
        for stamp_ns, image, _ in second_drive:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == len(expected), 'a result for every image')
        assert_same(peer.matches, expected)
        assert node.model.config.name == 'hvpr'
    near = [np.linalg.norm(item.best.pose[:3] - pose[:3]) < 5
            for item, (_, _, pose) in zip(expected, second_drive, strict=True) if item.best]
    assert np.mean(near) > 0.5


# Inputs that go wrong.


def test_unusable_images_are_survived_counted_and_told_once(town_map, second_drive, log):
    from sensor_msgs.msg import Image

    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        stamp_ns, image, _ = second_drive[0]
        depth = raw_message(np.zeros((4, 4, 4), np.uint8), stamp_ns, '32FC1')
        nothing = Image(encoding='rgb8', header=depth.header)
        for bad in (depth, nothing, depth, depth):
            deliver(node, lambda bad=bad: peer.raw.publish(bad))
        deliver(node, lambda: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == 1, 'a result after bad images')
        assert node.pipeline.errors.unusable == 4
        assert node.pipeline.errors.failures == 0
        eventually(lambda: 'has no pixels' in log, 'the second kind in the log')
        assert log.count('ignored an image') == 2
        assert log.count("'32FC1' holds depth") == 1
        eventually(lambda: peer.diagnostics and any(
            value.key == 'images unusable' and value.value == '4'
            for value in peer.diagnostics[-1].status[0].values), 'the count in /diagnostics')


def test_backward_time_drops_what_was_believed(town_map, second_drive):
    with localizing(map=str(town_map), **TOWN_EVERY, **ON_THE_MAP) as (node, peer):
        for stamp_ns, image, _ in (*second_drive[:20], second_drive[0]):
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == 21, 'a result for every image')
        assert peer.matches[19].accepted
        assert not peer.matches[20].accepted
        assert peer.matches[20].sequence_start == peer.matches[20].header.stamp


def test_backward_time_clears_the_sequence(town_map, second_drive):
    with localizing(map=str(town_map), **TOWN_EVERY, **SEQUENCES) as (node, peer):
        for stamp_ns, image, _ in (*second_drive[:6], *second_drive[:2]):
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == 8, 'a result for every image')
        reasons = [match.reason for match in peer.matches]
        filling = Reason.BUFFER_FILLING
        assert reasons[:4] == [filling] * 4
        assert filling not in reasons[4:6]
        assert reasons[6:] == [filling] * 2
        assert peer.matches[6].sequence_start == peer.matches[6].header.stamp


def test_the_newest_image_wins_and_drops_are_counted(town_map, second_drive):
    with localizing(map=str(town_map), image_reliability='reliable', image_queue_depth=20,
                    **TOWN_EVERY) as (node, peer):
        deliver(node, lambda: peer.show(second_drive[0][1], second_drive[0][0]))
        release = threading.Event()
        node.pipeline.worker.submit(release.wait)
        for stamp_ns, image, _ in second_drive[1:7]:
            peer.show(image, stamp_ns)
        eventually(lambda: node.pipeline.statistics.received == 7, 'all images')
        release.set()
        eventually(lambda: len(peer.matches) == 2, 'the result of the newest image')
        assert node.pipeline.statistics.dropped == 5
        newest = peer.matches[-1].header.stamp
        assert newest.sec * 10**9 + newest.nanosec == second_drive[6][0]


def test_images_without_stamp_get_the_time_of_arrival(town_map, second_drive, log):
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        for _ in range(2):
            deliver(node, lambda: peer.show(second_drive[0][1], 0))
        eventually(lambda: len(peer.matches) == 2, 'results')
        assert abs(peer.matches[-1].header.stamp.sec - time.time()) < 60
        eventually(lambda: 'have no stamp' in log, 'a warning')
        assert log.count('have no stamp') == 1


def test_stamps_that_go_back_a_little_do_not_clear_the_sequence(
        town_map, second_drive, caplog):
    """Every fourth image is stamped before the one before it."""
    period = second_drive[1][0] - second_drive[0][0]
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        for number, (stamp_ns, image, _) in enumerate(second_drive[:16]):
            wrong = stamp_ns - (period * 6 // 5 if number % 4 == 3 else 0)
            deliver(node, lambda image=image, wrong=wrong: peer.show(image, wrong))
        eventually(lambda: node.engine.buffer_fill == node.engine.sequence_length, 'a sequence')
        assert node.engine.late_images == 0
        assert caplog.text.count('before the newest one') == 1
        assert 'sequence cleared' not in caplog.text


def test_images_without_stamp_and_clock_get_the_time_of_the_system(town_map, second_drive, log):
    with localizing(map=str(town_map), use_sim_time=True, **TOWN_EVERY) as (node, peer):
        for _ in range(2):
            deliver(node, lambda: peer.show(second_drive[0][1], 0))
        eventually(lambda: len(peer.matches) == 2, 'results')
        assert abs(peer.matches[-1].header.stamp.sec - time.time()) < 60
        eventually(lambda: 'nothing publishes /clock' in log, 'a warning')


def test_simulated_time_is_the_time_of_the_node(town_map, second_drive):
    """Stamps of arrival follow /clock; silence is noticed though that clock stands still."""
    from rosgraph_msgs.msg import Clock

    with localizing(map=str(town_map), use_sim_time=True, silence_after_s=0.5,
                    **TOWN_EVERY) as (node, peer):
        clock = peer.node.create_publisher(Clock, '/clock', 10)
        message = Clock()
        message.clock.sec = 5000

        def clock_runs() -> bool:
            clock.publish(message)
            return node.get_clock().now().nanoseconds == 5000 * 10**9

        eventually(clock_runs, 'the simulated time')
        deliver(node, lambda: peer.show(second_drive[0][1], 0))
        eventually(lambda: peer.matches, 'a result')
        assert peer.matches[0].header.stamp.sec == 5000
        eventually(lambda: peer.diagnostics and 'no images on /image'
                   in peer.diagnostics[-1].status[0].message, 'a word of the silence')
        message.clock.sec = 4000  # the recording starts anew
        eventually(lambda: (clock.publish(message),
                            node.get_clock().now().nanoseconds == 4000 * 10**9)[1], 'a jump back')
        deliver(node, lambda: peer.show(second_drive[1][1], 0))
        eventually(lambda: len(peer.matches) >= 2, 'a result after the jump')
        assert peer.matches[-1].header.stamp.sec == 4000
        assert peer.matches[-1].sequence_start == peer.matches[-1].header.stamp


def test_silence_names_topic_quality_and_publishers(town_map, log):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    with localizing(map=str(town_map), image_reliability='reliable',
                    silence_after_s=0.3) as (node, peer):
        eventually(lambda: 'no images on /image for' in log, 'a warning')
        peer.node.create_publisher(
            Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        sides = '/peer offers best effort, volatile, but /localizer requests reliable, volatile'
        eventually(lambda: f'/image: {sides}; set image_reliability to best_effort' in log,
                   'a warning as soon as the two meet')
        eventually(lambda: f'(reliable, volatile, depth 5): 2 publishers; {sides}: set' in log,
                   'a warning about the quality in what is said of the silence')
        eventually(lambda: peer.diagnostics and 'no images on /image'
                   in peer.diagnostics[-1].status[0].message, 'a warning in /diagnostics')
        node.trigger_deactivate()
        assert set_parameter(peer, 'image_transport', 'compressed') == ''
        peer.node.destroy_publisher(peer.compressed)
        node.trigger_activate()
        eventually(lambda: '0 publishers, but 2 publishers on /image: set image_transport to raw'
                   in log, 'a hint at the other topic')


# Lifecycle and parameters.


def test_lifecycle(town_map):
    with localizing(start=False, map=str(town_map)) as (node, peer):
        assert state(peer, 'localizer') == 'unconfigured'
        assert node.count_subscribers('image') == 0
        for transition, expected, subscribers in (
                ('configure', 'inactive', 0), ('activate', 'active', 1),
                ('deactivate', 'inactive', 0), ('activate', 'active', 1),
                ('deactivate', 'inactive', 0), ('cleanup', 'unconfigured', 0),
                ('configure', 'inactive', 0), ('activate', 'active', 1),
                ('active_shutdown', 'finalized', 0)):
            assert change_state(peer, 'localizer', transition), transition
            assert state(peer, 'localizer') == expected
            eventually(lambda subscribers=subscribers:
                       node.count_subscribers('image') == subscribers, 'the right subscriptions')
        assert not [thread for thread in threading.enumerate() if 'localizer' in thread.name]


def test_a_failed_configuration_can_be_corrected(town_map, tmp_path, log):
    with localizing(start=False, map=str(tmp_path / 'nowhere'),
                    image_transport='theora') as (_, peer):
        assert not change_state(peer, 'localizer', 'configure')
        eventually(lambda: ("parameter image_transport: Input should be 'auto', 'raw' or "
                            "'compressed' (found 'theora')") in log, 'the reason in the log')
        assert set_parameter(peer, 'image_transport', 'raw') == ''
        assert not change_state(peer, 'localizer', 'configure')
        assert state(peer, 'localizer') == 'unconfigured'
        eventually(lambda: 'cannot configure: no map at' in log, 'the reason in the log')
        eventually(lambda: peer.diagnostics and peer.diagnostics[-1].status[0].message.startswith(
            'cannot configure: no map at'), 'the reason in /diagnostics')
        assert set_parameter(peer, 'map', str(town_map)) == ''
        assert set_parameter(peer, 'model', 'no-such-model') == ''
        assert not change_state(peer, 'localizer', 'configure')
        eventually(lambda: "no model 'no-such-model'" in log, 'the reason in the log')
        assert set_parameter(peer, 'model', 'patchnorm') == ''
        assert not change_state(peer, 'localizer', 'configure')
        eventually(lambda: "made with model 'hog'" in log and "in use is 'patchnorm'" in log,
                   'both names in the log')
        assert set_parameter(peer, 'model', 'hog') == ''
        assert change_state(peer, 'localizer', 'configure')
        assert [thread.name for thread in threading.enumerate()
                if 'localizer' in thread.name] == ['localizer worker']


def test_bad_values_are_refused_with_a_reason(town_map):
    with localizing(map=str(town_map)) as (_, peer):
        assert 'clean it up first' in set_parameter(peer, 'map_frame', 'world')
        assert 'deactivate it first' in set_parameter(peer, 'image_transport', 'compressed')
        assert 'read-only' in set_parameter(peer, 'autostart', False)
        assert set_parameter(peer, 'silence_after_s', 70.0) == ''
        assert change_state(peer, 'localizer', 'deactivate')
        assert set_parameter(peer, 'image_transport', 'compressed') == ''
        assert "'raw' or 'compressed'" in set_parameter(peer, 'image_transport', 'theora')
        assert 'clean it up first' in set_parameter(peer, 'map_frame', 'world')
        assert change_state(peer, 'localizer', 'cleanup')
        assert set_parameter(peer, 'matching.top_k', 7) == ''
        assert '10000' in set_parameter(peer, 'matching.top_k', 0)
        assert 'greater than 0' in set_parameter(peer, 'matching.min_speed', 0.0)
        assert set_parameter(peer, 'matching.min_speed', 2.0) == (
            'parameter matching: min_speed 2.0 is above max_speed 1.25')
        assert set_parameter(peer, 'keyframes.every', 'foo') == (
            "parameter keyframes.every: expected 'auto', meters ('1.5m'), seconds ('0.5s') or a "
            "whole number of images ('3') (found 'foo')")
        assert 'Wrong parameter type' in set_parameter(peer, 'matching.min_speed', 'fast')
        assert 'keyframes.every' in set_parameter(peer, 'keyframes.every', 'often')
        assert change_state(peer, 'localizer', 'configure')


@pytest.mark.parametrize('name', ['localizer', 'loop_closer', 'mapper'])
def test_every_parameter_is_described(name):
    from seqnet_ros.nodes.localizer_node import LocalizerNode
    from seqnet_ros.nodes.loop_closer_node import LoopCloserNode
    from seqnet_ros.nodes.mapper_node import MapperNode

    make_node = {'localizer': LocalizerNode, 'loop_closer': LoopCloserNode,
                 'mapper': MapperNode}[name]
    with spinning(make_node, name) as (node, _):
        for parameter in (declared.name for declared in node.settings.declared):
            descriptor = node.describe_parameter(parameter)
            assert descriptor.description.endswith('.'), parameter
            if descriptor.type == 2:
                assert descriptor.integer_range[0].from_value < descriptor.integer_range[
                    0].to_value, parameter
            if descriptor.type == 3:
                bounds = descriptor.floating_point_range[0]
                assert bounds.from_value < bounds.to_value, parameter
                assert bounds.step == 0
        assert node.describe_parameter('image_transport').additional_constraints == (
            'one of: auto, raw, compressed')


def parameter_table() -> str:
    """The table of docs/nodes.md, from what the nodes declare."""
    from seqnet_ros.nodes.localizer_node import LocalizerNode
    from seqnet_ros.nodes.loop_closer_node import LoopCloserNode
    from seqnet_ros.nodes.mapper_node import MapperNode

    rows: dict[str, tuple[str, list[str]]] = {}
    for make_node, name in ((LocalizerNode, 'localizer'), (LoopCloserNode, 'loop_closer'),
                            (MapperNode, 'mapper')):
        with spinning(make_node, name) as (node, _):
            for declared in node.settings.declared:
                descriptor = node.describe_parameter(declared.name)
                limits = [*descriptor.integer_range, *descriptor.floating_point_range]
                allowed = [f'{item.from_value:g} to {item.to_value:g}' for item in limits]
                allowed += filter(None, [descriptor.additional_constraints])
                default = getattr(node.settings.defaults(declared.group), declared.field)
                row = (f"`{json.dumps(default)}` | {', '.join(allowed)} | {declared.applied} | "
                       f'{descriptor.description}')
                key = f'{declared.name}\n{row}'
                rows.setdefault(key, (row, []))[1].append(name)
    lines = ['| parameter | node | default | range | applied | |', '| --- ' * 6 + '|']
    for key, (row, nodes) in rows.items():
        lines.append(f"| `{key.splitlines()[0]}` | {', '.join(nodes)} | {row} |")
    return '\n'.join(lines)


def test_the_documentation_lists_the_parameters():
    documented = (ROOT / 'docs' / 'nodes.md').read_text()
    table = parameter_table()
    assert table in documented, f'docs/nodes.md should hold:\n{table}'


def test_engine_parameters_start_from_and_follow_the_model(tmp_path):
    slow = tmp_path / 'slow.yaml'
    slow.write_text('sequence: {length: 9}\nmatching: {min_speed: 2.0, max_speed: 3.0}\n')
    with localizing(start=False, model=str(slow), **{'matching.top_k': 33}) as (node, _):
        from rclpy.parameter import Parameter

        assert node.get_parameter('sequence.length').value == 9
        assert node.start()
        assert node.config.sequence.length == 9
        assert node.config.matching.top_k == 33
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert node.set_parameters([Parameter('model', value='hog')])[0].successful
        assert node.start()
        assert node.get_parameter('sequence.length').value == 10
        assert node.config.matching.min_speed == 0.8
        assert node.config.matching.top_k == 33, 'what the user set stays'


def test_a_sequence_that_the_model_cannot_describe_is_refused(tmp_path):
    path = tmp_path / 'seqnet.yaml'
    path.write_text('sequence: {length: 5, aggregator: seqnet, kernel: 3, '
                    'weights: {random: true}}\ncentring: false\n')
    with localizing(start=False, model=str(path)) as (node, _):
        from rclpy.parameter import Parameter

        refused, = node.set_parameters([Parameter('sequence.length', value=2)])
        assert not refused.successful
        assert refused.reason == ('parameter sequence.length: a sequence of 2 frames is shorter '
                                  'than the SeqNet kernel of 3')
        assert node.get_parameter('sequence.length').value == 5
        assert node.set_parameters([Parameter('sequence.length', value=3)])[0].successful


# Services.


def test_load_map_result_codes(model, town_map, second_drive, tmp_path):
    from seqnet_ros.srv import LoadMap, SaveMap

    other = load_model('patchnorm', device='cpu')
    mapper = Mapper(other, with_keyframes(other, every='1'))
    for stamp_ns, image, _ in second_drive[:8]:
        mapper.push(image, stamp_ns)
    save_map(mapper.finish(), tmp_path / 'other')
    save_map(open_map(town_map), tmp_path / 'broken')
    (tmp_path / 'broken' / 'frames.npy').write_bytes(b'nothing')

    with localizing(**TOWN_EVERY) as (node, peer):
        def load(path: Path | str) -> Any:
            return peer.call(LoadMap, 'localizer/load_map', path=str(path))

        codes = LoadMap.Response
        saved = peer.call(SaveMap, 'localizer/save_map', path=str(tmp_path / 'copy'))
        assert saved.result == SaveMap.Response.RESULT_NOTHING_TO_SAVE
        deliver(node, lambda: peer.show(second_drive[0][1], second_drive[0][0]))
        eventually(lambda: peer.diagnostics and peer.diagnostics[-1].status[0].message
                   == 'no map is loaded', 'a warning in /diagnostics')
        assert load('').result == codes.RESULT_MAP_NOT_FOUND
        answer = load(town_map)
        assert (answer.result, answer.message) == (codes.RESULT_SUCCESS, f'{town_map}: 50 places')
        for path, code, word in (
                (tmp_path / 'nowhere', codes.RESULT_MAP_NOT_FOUND, 'nowhere'),
                (tmp_path / 'broken', codes.RESULT_INVALID_MAP, 'frames.npy'),
                (tmp_path / 'other', codes.RESULT_MODEL_MISMATCH, "'patchnorm'")):
            answer = load(path)
            assert answer.result == code
            assert word in answer.message
        for stamp_ns, image, _ in second_drive[:6]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: len(peer.matches) == 6, 'the map in use stays after a failure')
        assert peer.matches[-1].candidates
        saved = peer.call(SaveMap, 'localizer/save_map', path=str(tmp_path / 'copy'))
        assert saved.result == SaveMap.Response.RESULT_SUCCESS
        assert open_map(tmp_path / 'copy', model).manifest.map_id == peer.matches[-1].map_id


def test_services_of_an_unconfigured_node_say_so(town_map):
    from seqnet_ros.srv import LoadMap

    with localizing(start=False) as (_, peer):
        answer = peer.call(LoadMap, 'localizer/load_map', path=str(town_map))
        assert answer.result == LoadMap.Response.RESULT_UNDEFINED_FAILURE
        assert answer.message == 'the node is unconfigured: configure it first'


def test_a_map_is_loaded_while_the_node_is_cleaned_up(town_map):
    from seqnet_ros.srv import LoadMap

    with localizing() as (node, peer):
        assert change_state(peer, 'localizer', 'deactivate')
        release, taken = threading.Event(), threading.Event()
        node.pipeline.worker.submit(lambda: (taken.set(), release.wait()))
        assert taken.wait(PATIENCE_S)
        client = peer.node.create_client(LoadMap, 'localizer/load_map')
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(LoadMap.Request(path=str(town_map)))
        eventually(lambda: len(node.pipeline.worker), 'the request')
        threading.Timer(0.2, release.set).start()
        assert change_state(peer, 'localizer', 'cleanup')
        eventually(future.done, 'an answer')
        assert future.result().result == LoadMap.Response.RESULT_UNDEFINED_FAILURE
        assert 'cancelled' in future.result().message.lower()


def test_a_map_is_made_saved_and_searched(model, first_drive, second_drive, tmp_path):
    from seqnet_ros.srv import LoadMap, SaveMap

    codes = SaveMap.Response
    path = tmp_path / 'made'
    with mapping(map=str(path), **{'keyframes.every': '1m'}) as (node, peer):
        def save(path: str) -> Any:
            return peer.call(SaveMap, 'mapper/save_map', path=path)

        assert save('').result == codes.RESULT_NOTHING_TO_SAVE
        eventually(lambda: peer.odometry.get_subscription_count(), 'discovery of odometry')
        for stamp_ns, image, pose in first_drive:
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        taken = tmp_path / 'taken'
        taken.write_text('mine')
        answer = save(str(taken))
        assert answer.result == codes.RESULT_WRITE_FAILED
        assert 'is not a map' in answer.message
        answer = save('')
        assert answer.result == codes.RESULT_SUCCESS, answer.message
    mapper = Mapper(model, with_keyframes(model, every='1m'))
    for stamp_ns, image, pose in first_drive:
        mapper.push(image, stamp_ns, pose)
    made = open_map(path, model)
    assert made.manifest.map_id == mapper.finish().manifest.map_id
    assert made.manifest.pose_origin == 'odometry on /odometry'

    with localizing(**{'keyframes.every': '1', 'sequence.length': 3}) as (node, peer):
        answer = peer.call(LoadMap, 'localizer/load_map', path=str(path))
        assert answer.result == LoadMap.Response.RESULT_SUCCESS
        for stamp_ns, image, _ in second_drive:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        eventually(lambda: peer.poses, 'an accepted match')
        truth = {stamp_ns: pose for stamp_ns, _, pose in second_drive}
        errors = []
        for message in peer.poses:
            stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            position = message.pose.pose.position
            errors.append(np.hypot(*(truth[stamp_ns][:2] - [position.x, position.y])))
        assert np.median(errors) < 3.0


def test_without_odometry_the_frame_number_stands_for_metres(first_drive, tmp_path):
    path = tmp_path / 'line'
    with mapping(map=str(path), use_odometry=False) as (node, peer):
        eventually(lambda: peer.raw.get_subscription_count(), 'discovery')
        for stamp_ns, image, _ in first_drive[:7]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        assert len(node.engine) == 7
        node.trigger_deactivate()
        assert open_map(path).poses[:, 0].tolist() == list(range(7))


def test_the_mapper_waits_for_odometry_and_says_when_there_is_none(first_drive, log):
    with mapping() as (node, peer):
        peer.node.destroy_publisher(peer.odometry)
        eventually(lambda: peer.raw.get_subscription_count(), 'discovery')
        eventually(lambda: node.count_publishers('odometry') == 0, 'the end of odometry')
        for stamp_ns, image, _ in first_drive[:3]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        assert len(node.engine) == 0
        time.sleep(1.0)
        for stamp_ns, image, _ in first_drive[3:6]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        assert len(node.engine) == 3
        eventually(lambda: 'frame number = metres' in log, 'a warning')


# Diagnostics.


def test_diagnostics_tell_rates_drops_latencies_device_and_map(town_map, second_drive):
    with localizing(map=str(town_map), diagnostics_period_s=0.2, **TOWN_EVERY) as (node, peer):
        for stamp_ns, image, _ in second_drive[:8]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        peer.diagnostics.clear()
        eventually(lambda: len(peer.diagnostics) > 2, 'reports')
        array = peer.diagnostics[-1]
        assert array.header.stamp.sec > 0
        status, = array.status
        assert status.name == 'localizer: place recognition'
        assert status.level == b'\x00'
        assert status.hardware_id == 'camera'
        values = {item.key: item.value for item in status.values}
        assert values['images received'] == values['images processed'] == '8'
        assert values['images dropped'] == '0'
        assert values['sequence (frames)'] == values['sequence length (frames)'] == '5'
        assert values['images lost on the way'] == '0'
        assert float(values['images received (1/s)']) >= 0
        assert values['map'] == str(town_map)
        assert values['map places'] == '50'
        assert values['model'] == 'hog'
        assert values['odometry'] == 'none yet on /odometry'
        for key in ('describe', 'match', 'arrival to result'):
            assert 0 < float(values[f'{key}, mean (ms)']) <= float(values[f'{key}, maximum (ms)'])
        assert values['last result'] in status.message


def test_an_unexpected_error_does_not_end_the_node(town_map, second_drive, log):
    with localizing(map=str(town_map), **TOWN_EVERY) as (node, peer):
        engine, node.engine = node.engine, object()  # has no push: a programming error
        for stamp_ns, image, _ in second_drive[:3]:
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        assert node.pipeline.errors.failures == 3
        node.engine = engine
        deliver(node, lambda: peer.show(second_drive[3][1], second_drive[3][0]))
        eventually(lambda: len(peer.matches) == 1, 'a result')
        eventually(lambda: 'Traceback' in log, 'the traceback in the log')
        assert log.count('Traceback') == 1


def test_jpeg_that_is_cut_short_is_left_out(town_map, second_drive):
    from sensor_msgs.msg import CompressedImage

    _, jpeg = cv2.imencode('.jpg', second_drive[0][1])
    with localizing(map=str(town_map), image_transport='compressed', **TOWN_EVERY) as (node, peer):
        for data in (jpeg.tobytes()[:-200], b'', jpeg.tobytes()):
            message = CompressedImage(format='jpeg', data=data)
            message.header.stamp.sec = 1
            deliver(node, lambda message=message: peer.compressed.publish(message))
        eventually(lambda: len(peer.matches) == 1, 'the whole image')
        assert node.pipeline.errors.unusable == 2
