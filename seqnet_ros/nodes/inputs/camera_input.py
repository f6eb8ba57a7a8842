"""The calibration of the camera, from its topic."""

from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

from seqnet_ros.core.camera import FORWARD, CameraModel, camera_from_info
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import check_pose
from seqnet_ros.nodes.error_log import IntervalLog

CAMERA_INFO_TOPIC = 'camera_info'


def parse_base_from_camera(text: str) -> np.ndarray:
    """Read 'x y z qx qy qz qw'; an empty text is a camera that faces forward.

    Raises:
        InputError: the text is invalid.
    """
    if not text.strip():
        return np.array(FORWARD)
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 7:
        raise InputError(f"base_from_camera is {text!r}, expected 'x y z qx qy qz qw'")
    return check_pose(values, 'base_from_camera')


class CameraInput:
    """Subscribes to ``camera_info`` until closed, and passes each new calibration on.

    Args:
        node: the subscribing node.
        base_from_camera: pose of the camera, as `parse_base_from_camera` reads it.
        deliver: called with a calibration, on the executor's thread.

    Raises:
        InputError: ``base_from_camera`` is invalid.
    """

    def __init__(self, node: Node, base_from_camera: str,
                 deliver: Callable[[CameraModel], object]) -> None:
        self._node = node
        self._base_from_camera = parse_base_from_camera(base_from_camera)
        self._deliver = deliver
        self._camera: CameraModel | None = None
        self._refused = ''
        self._log = IntervalLog(node.get_logger())
        self._subscription = node.create_subscription(
            CameraInfo, CAMERA_INFO_TOPIC, self._on_info, qos_profile_sensor_data)

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def describe(self) -> str:
        """Return the state of the calibration, human-readable."""
        if self._camera is not None:
            return f'{self._camera.width}x{self._camera.height}, {self._camera.distortion_model}'
        return self._refused or f'no calibration received on {self._subscription.topic_name} yet'

    def _on_info(self, message: CameraInfo) -> None:
        roi = message.roi
        try:
            camera = camera_from_info(
                message.width, message.height, message.distortion_model, message.d, message.k,
                binning=(message.binning_x, message.binning_y),
                roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
                base_from_camera=self._base_from_camera.tolist())
        except InputError as error:
            if str(error) != self._refused:
                self._log.warning('refused', f'ignored camera_info: {error}')
            self._refused = str(error)
            return
        if camera != self._camera:
            self._camera = camera
            self._deliver(camera)
