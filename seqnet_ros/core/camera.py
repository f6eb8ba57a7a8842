"""Calibrated cameras: from the pixels of an image to rays, and where the camera sits on a robot.

The distortion models are those of ``sensor_msgs/CameraInfo``; the arithmetic is OpenCV's. Camera
axes are optical (x right, y down, z forward), robot axes ROS (REP-103: x forward, y left, z up).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import cv2
import numpy as np

from seqnet_ros.core.documents import read_yaml
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import check_pose, pose_matrix

FORWARD = (0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5)
"""Pose on the robot of an optical frame that looks along the robot's x axis (REP-103)."""

_COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
_SYNONYMS = {'fisheye': 'equidistant', '': 'plumb_bob', 'none': 'plumb_bob'}
_SAME_ASPECT = 0.01
_UNDISTORTED_PX = 0.5
_FOCAL_RANGE = (0.05, 100.0)
"""Range of plausible focal lengths, in image widths."""


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A calibrated camera.

    Attributes:
        matrix: intrinsic matrix K, float64 ``[3, 3]``, pixels; the first pixel's center is (0, 0).
        distortion: coefficients in the order of ``sensor_msgs/CameraInfo``, float64 ``[n]``; none
            for an ideal pinhole.
        distortion_model: 'plumb_bob' (4 or 5 coefficients), 'rational_polynomial' (8, 12 or 14) or
            'equidistant' (4: the fisheye of Kannala and Brandt, TPAMI 2006).
        width: of the calibrated image, pixels.
        height: of the calibrated image, pixels.
        base_from_camera: pose ``[7]`` of the optical frame on the robot, meters.

    Raises:
        InputError: K is zero (not calibrated) or not an intrinsic matrix, the model is unknown, or
            coefficients are missing or not finite.
    """

    matrix: np.ndarray
    width: int
    height: int
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))
    distortion_model: str = 'plumb_bob'
    base_from_camera: np.ndarray = field(default_factory=lambda: np.array(FORWARD))

    def __post_init__(self) -> None:
        """Check all fields and convert them to float64 arrays."""
        model = _SYNONYMS.get(self.distortion_model, self.distortion_model)
        if self.width < 1 or self.height < 1:
            raise InputError(f'the camera has {self.width}x{self.height} pixels, expected the size '
                             'of the calibrated image')
        object.__setattr__(self, 'width', int(self.width))
        object.__setattr__(self, 'height', int(self.height))
        object.__setattr__(self, 'matrix', _checked_matrix(self.matrix, self.width))
        object.__setattr__(self, 'distortion_model', model)
        object.__setattr__(self, 'distortion', _checked_distortion(self.distortion, model))
        object.__setattr__(self, 'base_from_camera',
                           check_pose(self.base_from_camera, 'camera pose'))

    def __eq__(self, other: object) -> bool:
        """Compare all numbers."""
        return isinstance(other, CameraModel) and self.to_document() == other.to_document()

    def __hash__(self) -> int:
        """Return a hash over the intrinsic parameters."""
        return hash((self.width, self.height, self.distortion_model, self.matrix.tobytes()))

    @property
    def focal_length(self) -> float:
        """Mean focal length, pixels."""
        return float(self.matrix[0, 0] + self.matrix[1, 1]) / 2

    @property
    def base_from_camera_matrix(self) -> np.ndarray:
        """The pose of the optical frame on the robot as ``[4, 4]``."""
        return pose_matrix(self.base_from_camera)

    def for_image(self, width: int, height: int) -> 'CameraModel':
        """Return the camera for its images at another resolution.

        Raises:
            InputError: the image has another aspect ratio: it was cropped, or comes from another
                camera.
        """
        if (width, height) == (self.width, self.height):
            return self
        scale_x, scale_y = width / self.width, height / self.height
        if abs(scale_x / scale_y - 1) > _SAME_ASPECT:
            raise InputError(
                f'the image has {width}x{height} pixels, but the camera was calibrated with '
                f'{self.width}x{self.height}: expected that size, or a multiple of it')
        # The center of a pixel keeps its place on the sensor, half a pixel from the corner.
        scaling = np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2],
                            [0, 0, 1]])
        return replace(self, matrix=scaling @ self.matrix, width=width, height=height)

    def rays(self, points: np.ndarray) -> np.ndarray:
        """Return the viewing directions of pixels, free of distortion.

        Args:
            points: pixels ``[N, 2]``.

        Returns:
            float64 ``[N, 2]``: x / z and y / z in the optical frame. NaN where the model has no
            such ray: beyond 90 degrees, or where its polynomial cannot be inverted.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 1, 2)
        if not len(points):
            return np.zeros((0, 2))
        if not self.distortion.any() and self.distortion_model != 'equidistant':
            homogeneous = np.insert(points[:, 0], 2, 1.0, axis=1)
            return (homogeneous @ np.linalg.inv(self.matrix).T)[:, :2]
        if self.distortion_model == 'equidistant':
            rays = cv2.fisheye.undistortPoints(points, self.matrix, self.distortion)
        else:
            rays = cv2.undistortPointsIter(
                points, self.matrix, self.distortion, np.eye(3), np.eye(3),
                (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-10))
        rays = rays[:, 0]
        with np.errstate(invalid='ignore', over='ignore'):
            off = np.linalg.norm(self.project(np.insert(rays, 2, 1.0, axis=1)) - points[:, 0],
                                 axis=1)
        rays[~(off <= _UNDISTORTED_PX)] = np.nan
        return rays

    def project(self, positions: np.ndarray) -> np.ndarray:
        """Return the pixels ``[N, 2]`` of positions ``[N, 3]`` in the optical frame."""
        positions = np.ascontiguousarray(positions, dtype=np.float64).reshape(-1, 1, 3)
        if not len(positions):
            return np.zeros((0, 2))
        none = np.zeros(3)
        if self.distortion_model == 'equidistant':
            pixels, _ = cv2.fisheye.projectPoints(
                positions, none, none, self.matrix, self.distortion)
        else:
            pixels, _ = cv2.projectPoints(
                positions, none, none, self.matrix,
                self.distortion if len(self.distortion) else None)
        return pixels.reshape(-1, 2)

    def to_document(self) -> dict[str, Any]:
        """Return the camera as plain numbers, for JSON and YAML."""
        return {'width': self.width, 'height': self.height,
                'distortion_model': self.distortion_model,
                'matrix': self.matrix.ravel().tolist(), 'distortion': self.distortion.tolist(),
                'base_from_camera': self.base_from_camera.tolist()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], what: str = 'camera') -> 'CameraModel':
        """Return the camera that `to_document` wrote.

        Raises:
            InputError: something is missing or not a number.
        """
        expected = set(cls.__dataclass_fields__)
        if not isinstance(document, Mapping) or set(document) != expected:
            found = ', '.join(sorted(document)) if isinstance(document, Mapping) else document
            raise InputError(f'{what} has {found}, expected {", ".join(sorted(expected))}')
        return camera_from_info(
            document['width'], document['height'], document['distortion_model'],
            document['distortion'], document['matrix'],
            base_from_camera=document['base_from_camera'])


def camera_from_info(
    width: int, height: int, distortion_model: str, d: Sequence[float], k: Sequence[float], *,
    binning: tuple[int, int] = (1, 1), roi: tuple[int, int, int, int] = (0, 0, 0, 0),
    base_from_camera: Sequence[float] = FORWARD,
) -> CameraModel:
    """Return the camera that the fields of a ``sensor_msgs/CameraInfo`` message describe.

    Args:
        width: of the whole sensor, pixels.
        height: of the whole sensor, pixels.
        distortion_model: the message's.
        d: distortion coefficients; empty for none.
        k: the intrinsic matrix of the raw image, nine numbers, row by row.
        binning: sensor pixels that make one of the image, across and down; 0 is 1.
        roi: part of the sensor the image shows: x, y, width, height; zeros are all of it.
        base_from_camera: pose ``[7]`` of the optical frame on the robot.

    Raises:
        InputError: the camera is not calibrated or the fields do not make sense.
    """
    try:
        matrix = np.array(k, dtype=np.float64).reshape(3, 3)
        distortion = np.array(d, dtype=np.float64).ravel()
        width, height = int(width), int(height)
    except (TypeError, ValueError) as error:
        raise InputError(f'the camera has K {k!r} and distortion {d!r}, expected nine numbers and '
                         'the coefficients') from error
    camera = CameraModel(matrix, width, height, distortion, str(distortion_model),
                         np.asarray(base_from_camera))
    left, top, shown_width, shown_height = roi
    if shown_width and shown_height:
        matrix = camera.matrix - np.array([[0, 0, left], [0, 0, top], [0, 0, 0]])
        camera = replace(camera, matrix=matrix, width=int(shown_width), height=int(shown_height))
    across, down = (max(int(step), 1) for step in binning)
    if (across, down) != (1, 1):
        scaling = np.array([[1 / across, 0, (1 / across - 1) / 2],
                            [0, 1 / down, (1 / down - 1) / 2], [0, 0, 1]])
        camera = replace(camera, matrix=scaling @ camera.matrix, width=camera.width // across,
                         height=camera.height // down)
    return camera


def read_camera_info(path: str | PathLike[str]) -> CameraModel:
    """Read a calibration file as ROS's ``camera_calibration`` writes it.

    The pose of the camera on the robot may be added as ``base_from_camera: [x, y, z, qx, qy, qz,
    qw]``; without it the camera looks forward from the robot's origin. A ``CameraInfo`` message
    printed as YAML is read too.

    Raises:
        InputError: the file cannot be read or is not a calibration; the message names it.
    """
    # `ros2 topic echo` ends a message with a line of dashes, after which nothing is read.
    document = read_yaml(path)
    try:
        return _from_file(document)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{path} is not a camera calibration, expected image_width, image_height, '
                         'distortion_model, distortion_coefficients and camera_matrix') from error


def _from_file(document: Any) -> CameraModel:
    base_from_camera = document.get('base_from_camera', FORWARD)
    if 'camera_matrix' in document:
        return camera_from_info(
            document['image_width'], document['image_height'], document['distortion_model'],
            document['distortion_coefficients']['data'], document['camera_matrix']['data'],
            base_from_camera=base_from_camera)
    roi = document.get('roi') or {}
    return camera_from_info(
        document['width'], document['height'], document['distortion_model'], document['d'],
        document['k'], binning=(document.get('binning_x', 1), document.get('binning_y', 1)),
        roi=(roi.get('x_offset', 0), roi.get('y_offset', 0), roi.get('width', 0),
             roi.get('height', 0)),
        base_from_camera=base_from_camera)


def _checked_matrix(values: Any, width: int) -> np.ndarray:
    matrix = np.array(values, dtype=np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputError(f'the camera matrix is {matrix.tolist()}, expected 3x3 finite numbers')
    if not matrix[:2].any():
        raise InputError('the camera is not calibrated: its matrix K is zero, expected an '
                         'intrinsic matrix')
    focal = np.diag(matrix)[:2] / width
    if (not np.array_equal(matrix[2], [0, 0, 1]) or matrix[1, 0] != 0
            or focal.min() < _FOCAL_RANGE[0] or focal.max() > _FOCAL_RANGE[1]):
        raise InputError(f'the camera matrix is {matrix.tolist()}, expected '
                         '[[fx, skew, cx], [0, fy, cy], [0, 0, 1]] in pixels')
    return matrix


def _checked_distortion(values: Any, model: str) -> np.ndarray:
    distortion = np.array(values, dtype=np.float64).ravel()
    if model not in _COEFFICIENTS:
        raise InputError(f'distortion model {model!r} is unknown, expected one of: '
                         f'{", ".join(_COEFFICIENTS)}')
    if not np.isfinite(distortion).all():
        raise InputError(f'the camera has distortion {distortion.tolist()}, expected finite '
                         'numbers')
    if not len(distortion):
        return np.zeros(_COEFFICIENTS[model][0])
    if len(distortion) not in _COEFFICIENTS[model]:
        counts = ' or '.join(map(str, _COEFFICIENTS[model]))
        raise InputError(f'distortion model {model} has {len(distortion)} coefficients, '
                         f'expected {counts}')
    return distortion
