"""`seqnet_ros quickstart` with a bag, and with the topics of a running robot."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import refusal, succeed

from seqnet_ros.datasets.recordings.bag_writer import write_bag
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.maps.map_reader import open_map


class RenderedDrive(list):
    """Frames of a drive through the town, as a recording."""

    name, pose_origin = 'town', 'rendered'


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    """A drive with one camera and odometry."""
    from node_harness import render

    path = tmp_path_factory.mktemp('bags') / 'drive'
    write_bag(RenderedDrive(
        Frame(number, stamp_ns, lambda image=image: image, pose)
        for number, (stamp_ns, image, pose) in enumerate(render(seed=1, count=20))), path)
    return path


def test_a_bag_becomes_a_map(bag, tmp_path):
    output = tmp_path / 'first'
    result = succeed('quickstart', bag, '--output', output)
    assert 'seqnet_ros map build' in result.stdout
    assert 'localization.launch.py' in result.stdout
    assert len(open_map(output / 'quickstart.map')) > 10
    assert (output / 'mapper.yaml').is_file()
    assert 'exists and is not an empty folder' in refusal('quickstart', bag, '--output', output)


@pytest.mark.requires_ros
def test_a_running_robot_gets_a_map(tmp_path, first_drive):
    """In a process of its own: the command starts nodes, and a robot publishes here."""
    import rclpy
    from node_harness import Peer, each_spinning

    context = rclpy.Context()
    rclpy.init(context=context)
    peer = Peer(context, 'nobody')
    with each_spinning(context, peer.node):
        command = subprocess.Popen(
            [sys.executable, '-m', 'seqnet_ros.cli.main', 'quickstart', '--seconds', '3', '--stop',
             '--camera', '/image', '--output', str(tmp_path / 'live')],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        shown = 0
        while command.poll() is None and shown < 900:
            stamp_ns, image, pose = first_drive[min(shown // 10, len(first_drive) - 1)]
            peer.move(pose, stamp_ns + shown)
            peer.show(image, stamp_ns + shown)
            shown += 1
            time.sleep(0.1)
        stdout, stderr = command.communicate(timeout=60)
    assert command.returncode == 0, stderr
    assert 'images arrive' in stdout
    assert 'odometry     /odometry' in stdout
    assert len(open_map(tmp_path / 'live' / 'quickstart.map')) >= 2
