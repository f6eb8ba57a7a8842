"""The geometric check in the nodes: a calibrated camera, maps with local features, metric poses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import (
    Peer,
    closing_loops,
    deliver,
    eventually,
    localizing,
    mapping,
    settle,
    state,
    wait_for_odometry,
)

from seqnet_ros.core.camera import FORWARD
from seqnet_ros.maps.map_reader import open_map
from seqnet_town import DAY, Camera, Drive, Town

pytestmark = pytest.mark.requires_ros

EYE = Camera(480, 360)
MOUNT = ' '.join(str(value) for value in (0.0, 0.0, EYE.mount_height, *FORWARD[3:]))
CAMERA = {'base_from_camera': MOUNT}


@pytest.fixture(scope='module')
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp('models') / 'checked.yaml'
    file.write_text('sequence: {length: 5}\ngeometry: {}\n'
                    'acceptance: {agreement: 3, agreement_window: 5}\n')
    return file


def shown(seed: int, length: float, **options: Any) -> list:
    drive = Drive(Town(7), DAY, EYE, length=length, rate=8.0, seed=seed, **options)
    return [(int(stamp), drive.render(number), pose)
            for number, (stamp, pose) in enumerate(zip(drive.stamps, drive.poses, strict=True))]


def calibrate(node: Any, peer: Peer) -> None:
    from sensor_msgs.msg import CameraInfo

    publisher = peer.node.create_publisher(CameraInfo, 'camera_info', 10)
    info = CameraInfo(width=EYE.width, height=EYE.height, distortion_model='plumb_bob',
                      d=[0.0] * 5, k=[float(value) for value in EYE.matrix.ravel()])

    def known() -> bool:
        publisher.publish(info)
        return node.pipeline.camera is not None

    eventually(known, 'the calibration')
    settle(node)


def send(node: Any, peer: Peer, frames: list) -> None:
    for stamp_ns, image, pose in frames:
        peer.move(pose, stamp_ns)
        wait_for_odometry(node, stamp_ns)
        deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))


@pytest.mark.parametrize('localization', [
    {'localization.method': 'sequence'}, {'acceptance.false_positive_rate': 0.2}])
def test_poses_are_measured_where_the_geometry_is_metric(localization, model_file, tmp_path):
    path = tmp_path / 'map'
    with mapping(model=str(model_file), map=str(path), **CAMERA) as (node, peer):
        calibrate(node, peer)
        send(node, peer, shown(seed=1, length=40.0))
        assert node.trigger_deactivate()
    place_map = open_map(path)
    assert place_map.features is not None
    assert place_map.manifest.camera_model is not None
    frames = shown(seed=2, length=36.0, lateral_offset=0.6)
    truth = {stamp_ns: pose for stamp_ns, _, pose in frames}
    with localizing(map=str(path), **CAMERA, **localization) as (node, peer):
        calibrate(node, peer)
        send(node, peer, frames)
        settle(node)
        eventually(lambda: len(peer.poses) == sum(item.accepted for item in peer.matches) > 8,
                   'poses')
        accepted = [item for item in peer.matches if item.accepted]
        assert min(item.candidates[0].inliers for item in accepted) >= 20
        errors = [np.linalg.norm(
            truth[item.header.stamp.sec * 10**9 + item.header.stamp.nanosec][:2]
            - [item.pose.pose.position.x, item.pose.pose.position.y]) for item in peer.poses]
        # The drives are 0.6 m apart sideways: the places alone could not be nearer than that.
        assert np.median(errors) < 0.2
        deviations = [np.sqrt(item.pose.covariance[0]) for item in peer.poses]
        assert 0 < np.median(deviations) < 0.5


@pytest.mark.parametrize('localization', [
    {'localization.method': 'sequence'}, {'acceptance.false_positive_rate': 0.05}])
def test_loops_carry_a_relative_pose_in_metres(localization, model_file):
    from seqnet_ros.msg import LoopClosure

    first = shown(seed=1, length=40.0)
    again = [(stamp_ns + 60 * 10**9, image, pose)
             for stamp_ns, image, pose in shown(seed=2, length=36.0, lateral_offset=0.6)]
    near = {'loop.exclude_frames': 10, 'loop.exclude_m': 5.0, 'keyframes.max_gap_s': 100.0,
            'keyframes.max_gap_m': 100.0}
    with closing_loops(model=str(model_file), **CAMERA, **near, **localization) as (node, peer):
        loops = peer.listen(LoopClosure, 'loop_closer/loop_closure')
        calibrate(node, peer)
        send(node, peer, first + again)
        settle(node)
        eventually(lambda: len(loops) > 8, 'loops')
        metric = [item for item in loops if item.is_metric]
        assert len(metric) >= 0.7 * len(loops)
        sideways = [item.relative_pose.pose.position.y for item in metric]
        assert np.median(sideways) == pytest.approx(0.6, abs=0.25)
        for item in loops:
            assert item.inliers >= 20
            assert min(np.diag(np.reshape(item.relative_pose.covariance, (6, 6)))) > 0


def test_a_mount_that_is_none_is_refused_while_it_can_be_corrected(model_file):
    from rclpy.parameter import Parameter

    with localizing(start=False, model=str(model_file), base_from_camera='1 2') as (node, peer):
        assert not node.start()
        assert state(peer, 'localizer') == 'unconfigured'
        assert node.set_parameters([Parameter('base_from_camera', value=MOUNT)])[0].successful
        assert node.start()


def test_a_calibration_is_forgotten_with_the_engine(model_file):
    with mapping(model=str(model_file), **CAMERA) as (node, peer):
        calibrate(node, peer)
        assert node.trigger_deactivate()
        assert node.trigger_cleanup()
        assert node.pipeline.camera is None
