"""The calibration of the camera, from its topic."""

from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

from seqnet_ros.core.camera import FORWARD, CameraModel, camera_from_info
from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.core.poses import check_pose
from seqnet_ros.nodes.error_log import ErrorLog

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
        raise InputError(f"base_from_camera is {quoted(text)}, expected 'x y z qx qy qz qw'")
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
        self._errors = ErrorLog(node.get_logger(), 'camera_info', every_kind=False)
        self._subscription = node.create_subscription(
            CameraInfo, CAMERA_INFO_TOPIC, self.take, qos_profile_sensor_data)

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    @property
    def ignored(self) -> int:
        """Calibrations that could not be used."""
        return self._errors.unusable

    def describe(self) -> str:
        """Return the state of the calibration, human-readable."""
        ignored = (f'{self._errors.unusable} ignored, the last: {self._errors.last_error}'
                   if self._errors.unusable else '')
        if self._camera is not None:
            found = f'{self._camera.width}x{self._camera.height}, {self._camera.distortion_model}'
            return f'{found}; {ignored}' if ignored else found
        return ignored or f'no calibration received on {self._subscription.topic_name} yet'

    def take(self, message: CameraInfo) -> None:
        """Take a message of the topic; an unusable one is counted and the first one logged."""
        roi = message.roi
        try:
            camera = camera_from_info(
                message.width, message.height, message.distortion_model, message.d, message.k,
                binning=(message.binning_x, message.binning_y),
                roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
                base_from_camera=self._base_from_camera.tolist())
        except InputError as error:
            self._errors.add(error)
            return
        if camera != self._camera:
            self._camera = camera
            self._deliver(camera)
