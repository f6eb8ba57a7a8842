"""What arrives at a node can neither fill its log nor control the terminal that shows it."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from node_harness import Log, deliver, eventually, localizing, raw_message, spinning

from seqnet_ros.core.camera import FORWARD, CameraModel

pytestmark = pytest.mark.requires_ros

ESCAPE = '\x1b]0;owned\x07'


def test_a_bomb_is_one_line_and_a_count(town_map: Path, first_drive: list, log: Log) -> None:
    from sensor_msgs.msg import CompressedImage

    stamp_ns, image, _ = first_drive[0]
    bomb = b'GIF89a\xff\xff\xff\xff' + bytes(30)
    with localizing(map=str(town_map), image_transport='compressed',
                    image_reliability='reliable') as (node, peer):
        publisher = peer.node.create_publisher(CompressedImage, 'image/compressed', 10)
        eventually(lambda: publisher.get_subscription_count(), 'a subscription')
        for number in range(3):
            message = CompressedImage(format=f'gif{ESCAPE}')
            message.header = raw_message(image, stamp_ns - 3 + number).header
            message.data.frombytes(bomb)
            deliver(node, lambda message=message: publisher.publish(message))
        good = CompressedImage(format='png')
        good.header = raw_message(image, stamp_ns).header
        good.data.frombytes(cv2.imencode('.png', image[..., ::-1])[1].tobytes())
        deliver(node, lambda: publisher.publish(good))
        eventually(lambda: node.pipeline.statistics.processed == 4, 'the good image')
    assert log.count('65535x65535 pixels, expected at most 64 megapixels') == 1
    assert ESCAPE not in log


def test_the_limit_is_a_parameter(town_map: Path, first_drive: list, log: Log) -> None:
    stamp_ns, image, _ = first_drive[0]
    with localizing(map=str(town_map), max_image_megapixels=0.001,
                    image_reliability='reliable') as (node, peer):
        deliver(node, lambda: peer.show(image, stamp_ns))
        eventually(lambda: 'expected at most 0.001 megapixels' in log, 'the refusal')


def test_a_thousand_bad_calibrations_are_one_line_and_a_count(log: Log) -> None:
    from sensor_msgs.msg import CameraInfo

    from seqnet_ros.nodes.inputs.camera_input import CameraInput

    delivered: list[CameraModel] = []
    random = np.random.default_rng(0)
    from rclpy.node import Node

    from seqnet_ros.nodes.ros_logging import PrintableLogs

    class Plain(PrintableLogs, Node):
        def __init__(self, **options: Any) -> None:
            super().__init__('plain', **options)

    with spinning(Plain, 'plain') as (node, _):
        camera = CameraInput(node, '', delivered.append)
        assert 'no calibration received' in camera.describe()
        for number in range(1000):
            message = CameraInfo(width=int(random.integers(0, 3)), height=number,
                                 distortion_model=f'{ESCAPE}{number}',
                                 k=random.normal(size=9).tolist(),
                                 d=random.normal(size=number % 9).tolist())
            camera.take(message)
        assert camera.describe().startswith('1000 ignored, the last: ')
        good = CameraInfo(width=64, height=48, distortion_model='plumb_bob', d=[0.0] * 5,
                          k=[60.0, 0.0, 32.0, 0.0, 60.0, 24.0, 0.0, 0.0, 1.0])
        camera.take(good)
        assert camera.describe().startswith('64x48, plumb_bob; 1000 ignored')
        camera.close()
    assert log.count('ignored camera_info') == 1
    assert ESCAPE not in log
    assert len(delivered) == 1
    assert np.array_equal(delivered[0].base_from_camera, FORWARD)
    assert dataclasses.is_dataclass(delivered[0])


def test_two_nodes_of_one_name_are_warned_of(log: Log) -> None:
    with localizing() as (node, peer):
        from rclpy.node import Node

        assert 'nodes have the name' not in log
        other = Node(node.get_name(), context=peer.node.context)
        eventually(lambda: '2 nodes have the name /localizer' in log, 'the warning')
        other.destroy_node()


def test_logs_of_nodes_are_harmless(log: Log) -> None:
    with localizing() as (node, _):
        node.get_logger().error(f'frame {ESCAPE}')
        node.get_logger().info('plain')
        eventually(lambda: 'frame \\x1b]0;owned\\x07' in log, 'the line')
        assert node.get_logger() is node.get_logger()
    assert ESCAPE not in log


def test_maps_whose_path_has_a_colon_can_be_loaded(town_map: Path, tmp_path: Path) -> None:
    from seqnet_ros.srv import LoadMap

    first, second = tmp_path / '12:30' / 'town', tmp_path / 'a:b'
    shutil.copytree(town_map, first)
    shutil.copytree(town_map, second)
    with localizing(map=str(first)) as (node, peer):
        assert node.configured
        assert len(node.engine.map) > 0
        answer = peer.call(LoadMap, 'localizer/load_map', path=f'{second}')
        assert answer.result == LoadMap.Response.RESULT_SUCCESS, answer.message
        assert str(second) in answer.message
