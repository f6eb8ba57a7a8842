"""Images from real topics: transport, reliability, losses, queue, two publishers, suspension."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from node_harness import deliver, eventually, localizing, mapping, raw_message

from seqnet_ros.core.poses import make_pose
from seqnet_ros.maps.map_reader import open_map

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros
NOISE = np.random.default_rng(0).integers(0, 255, (8, 60, 80, 3), dtype=np.uint8)
STEP_NS = 10**8


def details(node) -> dict[str, object]:
    return node.diagnostics.report().values


def test_compressed_images_are_found_where_only_those_are_published(second_drive):
    import cv2
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import CompressedImage

    with localizing(start=False) as (node, peer):
        peer.node.destroy_publisher(peer.raw)
        eventually(lambda: node.count_publishers('image') == 0, 'the end of raw images')
        assert node.start()
        _, jpeg = cv2.imencode('.jpg', second_drive[0][1])
        message = CompressedImage(format='jpeg', data=jpeg.tobytes())
        message.header.stamp.sec = 1
        eventually(lambda: peer.compressed.get_subscription_count(), 'a subscription')
        deliver(node, lambda: peer.compressed.publish(message))
        assert details(node)['image topic'] == '/image/compressed'
        # The other way round, and not where the parameter says what to take.
        node.trigger_deactivate()
        node.set_parameters([Parameter('image_transport', value='raw')])
        node.trigger_activate()
        assert details(node)['image topic'] == '/image'


def test_a_subscription_follows_a_camera_that_changes_its_transport():
    from sensor_msgs.msg import Image

    with localizing() as (node, peer):
        peer.node.destroy_publisher(peer.raw)
        eventually(lambda: details(node)['image topic'] == '/image/compressed', 'compressed')
        peer.node.destroy_publisher(peer.compressed)
        raw = peer.node.create_publisher(Image, 'image', 10)
        eventually(lambda: details(node)['image topic'] == '/image', 'raw')
        eventually(raw.get_subscription_count, 'a subscription')
        deliver(node, lambda: raw.publish(raw_message(NOISE[0], STEP_NS)))


def test_a_topic_may_be_given_with_its_transport():
    from rclpy.node import Node

    from seqnet_ros.nodes.inputs.image_topic import topic_of

    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('named', context=context, cli_args=[
        '--ros-args', '-r', 'image:=/camera/image_raw/compressed'])
    try:
        assert topic_of(node, 'raw') == '/camera/image_raw'
        assert topic_of(node, 'compressed') == '/camera/image_raw/compressed'
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_two_publishers_on_one_topic_are_named_in_one_line(log):
    from sensor_msgs.msg import Image

    with localizing() as (node, peer):
        context = peer.node.context
        other = rclpy.create_node('second_camera', context=context, namespace='front')
        try:
            other.create_publisher(Image, '/image', 10)
            expected = '2 publishers on /image: /front/second_camera, /peer; expected one'
            eventually(lambda: expected in log, 'a warning')
            time.sleep(1.5)
            assert log.count(expected) == 1
            assert expected in node.diagnostics.report().message
        finally:
            other.destroy_node()


def test_a_subscription_is_renewed_where_a_publisher_exists_but_nothing_comes(log):
    """As after a suspension: what the middleware forgot meanwhile is set up anew."""
    with localizing(silence_after_s=0.6) as (node, peer):
        before = [id(item) for item in node.subscriptions if item.topic_name == '/image']
        eventually(lambda: details(node)['subscriptions renewed'] >= 1, 'a renewal')
        after = [id(item) for item in node.subscriptions if item.topic_name == '/image']
        assert len(before) == len(after) == 1
        eventually(lambda: 'subscribed to /image again: it has a publisher' in log, 'a line')
        eventually(lambda: peer.raw.get_subscription_count() == 1, 'the subscription')
        deliver(node, lambda: peer.show(NOISE[0], STEP_NS))


def test_the_initial_pose_is_advertised_only_when_it_is_asked_for(town_map):
    from rclpy.parameter import Parameter

    with localizing(map=str(town_map)) as (node, peer):
        assert node.count_publishers('initialpose') == 0
        node.trigger_deactivate()
        node.set_parameters([Parameter('publish_initial_pose', value=True)])
        node.trigger_activate()
        eventually(lambda: peer.node.count_publishers('initialpose') == 1, 'the topic')
        node.trigger_deactivate()
        eventually(lambda: peer.node.count_publishers('initialpose') == 0, 'its end')


def show_fast(node, peer, images: int) -> None:
    """Publish images faster than the node takes them, until it has received all."""
    deliver(node, lambda: peer.show(NOISE[0], STEP_NS))
    for number in range(1, images):
        peer.show(NOISE[number % len(NOISE)], (number + 1) * STEP_NS)
        eventually(lambda number=number: node.pipeline.statistics.received > number, 'an image')


def slow_down(node, seconds: float) -> None:
    push = node.engine.push_lazily

    def push_slowly(*arguments):
        time.sleep(seconds)
        return push(*arguments)

    node.engine.push_lazily = push_slowly


def test_images_wait_for_a_busy_mapper(tmp_path):
    from seqnet_ros.srv import SaveMap

    with mapping(use_odometry=False, **{'keyframes.every': '1'}) as (node, peer):
        eventually(peer.raw.get_subscription_count, 'a subscription')
        slow_down(node, 0.05)
        show_fast(node, peer, 20)
        assert details(node)['images waiting'] > 5
        # What waits is part of the map that is saved meanwhile.
        answer = peer.call(SaveMap, 'mapper/save_map', path=str(tmp_path / 'made'))
        assert answer.message.endswith('20 places'), answer.message
        assert details(node)['images dropped'] == 0
    assert str(open_map(tmp_path / 'made').manifest.completeness) == '20 images, none missing'


def test_a_map_with_holes_is_told_while_driving_when_saving_and_afterwards(tmp_path, log):
    from command_line import succeed

    path = tmp_path / 'made'
    with mapping(map=str(path), use_odometry=False, image_queue_mb=0,
                 **{'keyframes.every': '1'}) as (node, peer):
        eventually(peer.raw.get_subscription_count, 'a subscription')
        slow_down(node, 0.05)
        show_fast(node, peer, 40)
        dropped = node.pipeline.statistics.dropped
        assert dropped > 20
        what = 'were left out because the node was busy. Raise image_queue_mb'
        eventually(lambda: what in log, 'a warning while driving')
        eventually(lambda: what in node.diagnostics.report().message, 'a report')
        assert details(node)['map images missing'] >= dropped
        warned = log.count(what)
        node.trigger_deactivate()
        eventually(lambda: log.count(what) > warned, 'a warning when saving')
    found = open_map(path).manifest.completeness
    assert found is not None
    assert found.missing >= dropped
    told = succeed('map', 'info', path).stdout
    assert f'{found.missing} of {found.images + found.missing} images missing' in told
    assert 'the localizer is lost where places are missing' in told


def test_holes_in_odometry_are_holes_of_the_map(tmp_path, log):
    with mapping(map=str(tmp_path / 'made'), **{'keyframes.every': '1m'}) as (node, peer):
        eventually(lambda: peer.raw.get_subscription_count()
                   and peer.odometry.get_subscription_count(), 'subscriptions')
        for number in range(60):
            stamp_ns = (number + 1) * STEP_NS
            if not 20 <= number < 45:
                peer.move(make_pose(float(number), 0.0), stamp_ns)
                eventually(lambda stamp_ns=stamp_ns: node.pipeline.odometry.at(
                    stamp_ns, 0.0) is not None, 'odometry')
            deliver(node, lambda number=number, stamp_ns=stamp_ns: peer.show(
                NOISE[number % len(NOISE)], stamp_ns))
        eventually(lambda: 'had no pose. Check the rate and the stamps of the odometry' in log,
                   'a warning')
    found = open_map(tmp_path / 'made').manifest.completeness
    assert found is not None
    assert found.holes == 1
    assert 15 < found.longest_hole_m < 30
    assert found.missing > 10


CAMERA = """
import sys, time
import numpy as np, rclpy
from array import array
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(Image, 'image', QoSProfile(depth=10))
images = np.random.default_rng(0).integers(0, 255, (4, 480 * 640 * 3), dtype=np.uint8)
message = Image(height=480, width=640, step=1920, encoding='rgb8')
for number in range(10**6):
    message.data = array('B', images[number % 4].tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(10**9 + number * 10**8, 10**9)
    publisher.publish(message)
    time.sleep(0.1)
"""


def test_lost_images_make_the_subscription_reliable(tmp_path, log, monkeypatch):
    """Fast DDS as it comes loses raw 640x480 images between two processes."""
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    script = Path(tmp_path / 'camera.py')
    script.write_text(CAMERA)
    with mapping(use_odometry=False, save_on_shutdown=False) as (node, peer):
        for publisher in (peer.raw, peer.compressed):
            peer.node.destroy_publisher(publisher)
        with subprocess.Popen([sys.executable, str(script)]) as camera:
            try:
                statistics = node.pipeline.statistics
                eventually(lambda: details(node)['images lost on the way'] + statistics.received
                           > 40, 'images')
                if details(node)['images lost on the way'] < 5:
                    pytest.skip('this middleware loses no large images')
                eventually(lambda: 'subscribed again with reliable' in log, 'the fallback')
                assert 'config/fastdds.xml' in log
                assert details(node)['image reliability'] == 'reliable'
                received, lost = statistics.received, details(node)['images lost on the way']
                eventually(lambda: statistics.received > received + 20, 'more images')
                assert details(node)['images lost on the way'] - lost < 20
            finally:
                camera.kill()
