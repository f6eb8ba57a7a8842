"""Write rosbag2 bags without ROS."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import check_pose
from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import FrameSource

JPEG_QUALITY = 95
# Version 9 stores quality-of-service profiles in a way that readers before Jazzy do not know.
BAG_VERSION: Literal[8] = 8

_STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}


class BagWriter:
    """A rosbag2 bag to be written; a context manager.

    When the block ends with an error the unfinished bag is removed.
    """

    def __init__(self, path: str | PathLike[str], storage: str = 'mcap') -> None:
        """Prepare the bag; nothing is written before the block is entered.

        Args:
            path: the bag's folder, which must not exist.
            storage: ``mcap`` or ``sqlite3``.

        Raises:
            InputError: the path exists, or the storage is unknown.
        """
        self.path = Path(path)
        if storage not in _STORAGES:
            raise InputError(
                f'bag storage {storage!r} is unknown, expected {" or ".join(_STORAGES)}')
        if self.path.exists():
            raise InputError(f'{self.path} exists, expected a new path for the bag')
        self._store = get_typestore(Stores.LATEST)
        self._connections: dict[tuple[str, str], Connection] = {}
        with self._explain():  # another process may have been faster
            self._writer = Writer(
                self.path, version=BAG_VERSION, storage_plugin=_STORAGES[storage])

    def __enter__(self) -> 'BagWriter':
        """Create the bag."""
        with self._explain():
            self._writer.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Finish the bag, or remove it after an error."""
        finished = False
        try:
            with self._explain():
                self._writer.__exit__(kind, error, trace)
            finished = kind is None
        finally:
            if not finished:
                shutil.rmtree(self.path, ignore_errors=True)

    def write_image(self, topic: str, stamp_ns: int, rgb: np.ndarray, compressed: bool = False,
                    frame_id: str = 'camera') -> None:
        """Write an image as ``sensor_msgs/Image`` (rgb8) or ``CompressedImage`` (JPEG).

        Args:
            topic: topic to write to.
            stamp_ns: time of the image, and of the message in the bag.
            rgb: uint8 ``[H, W, 3]``.
            compressed: JPEG of quality 95, which is not lossless, in place of raw pixels.
            frame_id: the camera's frame.

        Raises:
            InputError: the image has another shape or type.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise InputError(
                f'image is {rgb.dtype} {list(rgb.shape)}, expected uint8 [H, W, 3]')
        header = self._header(stamp_ns, frame_id)
        if compressed:
            _, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
                                   [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._write(topic, stamp_ns, 'sensor_msgs/msg/CompressedImage',
                        header=header, format='jpeg', data=data)
            return
        height, width = rgb.shape[:2]
        self._write(topic, stamp_ns, 'sensor_msgs/msg/Image', header=header, height=height,
                    width=width, encoding='rgb8', is_bigendian=0, step=3 * width,
                    data=np.ascontiguousarray(rgb).reshape(-1))

    def write_odometry(self, topic: str, stamp_ns: int, pose: np.ndarray, frame_id: str = 'odom',
                       child_frame_id: str = 'base_link') -> None:
        """Write a pose ``[7]`` as ``nav_msgs/Odometry`` without velocities or covariances.

        Raises:
            InputError: the pose is not finite or has a zero quaternion.
        """
        x, y, z, qx, qy, qz, qw = map(float, check_pose(pose))
        make = self._make
        unknown = np.zeros(36)
        still = make('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
        self._write(
            topic, stamp_ns, 'nav_msgs/msg/Odometry', header=self._header(stamp_ns, frame_id),
            child_frame_id=child_frame_id,
            pose=make('geometry_msgs/msg/PoseWithCovariance', covariance=unknown, pose=make(
                'geometry_msgs/msg/Pose',
                position=make('geometry_msgs/msg/Point', x=x, y=y, z=z),
                orientation=make('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw))),
            twist=make('geometry_msgs/msg/TwistWithCovariance', covariance=unknown, twist=make(
                'geometry_msgs/msg/Twist', linear=still, angular=still)))

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        if not 0 <= seconds < 2**31:
            raise InputError(f'stamp is {seconds} s, expected a time from 1970 to 2038')
        stamp = self._make('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds)
        return self._make('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)

    def _write(self, topic: str, stamp_ns: int, kind: str, **fields: Any) -> None:
        key = topic, kind
        with self._explain():
            if key not in self._connections:
                self._connections[key] = self._writer.add_connection(
                    topic, kind, typestore=self._store)
            content = self._store.serialize_cdr(self._make(kind, **fields), kind)
            self._writer.write(self._connections[key], stamp_ns, content)

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, WriterError) as error:
            raise InputError(f'bag {self.path} cannot be written: {error}') from error


UNSET_STAMP_NS = 10**9
"""Start time in a bag of a recording that starts at zero, because a zero stamp is unset in ROS."""


def write_bag(source: FrameSource, path: str | PathLike[str], rate: float | None = None,
              compressed: bool = False, image_topic: str | None = None,
              odometry_topic: str = '/odom', storage: str = 'mcap',
              progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Copy a recording into a bag: its images, and its poses as odometry.

    Damaged images are skipped, and their poses with them.

    Args:
        source: the recording.
        path: the bag's folder, which must not exist.
        rate: restamp the images at this rate, images per second; None keeps the source's stamps. A
            recording that starts at 0 starts at 1 s in the bag.
        compressed: JPEG of quality 95 in place of raw pixels.
        image_topic: None takes ``/camera/image_raw``, with ``/compressed`` where they are.
        odometry_topic: topic of the poses.
        storage: ``mcap`` or ``sqlite3``.
        progress: called with the images done and their number in all.

    Returns:
        The number of images written.

    Raises:
        InputError: the path exists, or no image of the source can be read; no bag is left then.
    """
    if rate is not None and not 0 < rate < float('inf'):
        raise InputError(f'rate is {rate:g} images per second, expected more than 0')
    topic = image_topic or '/camera/image_raw' + '/compressed' * compressed
    total = len(source)
    walk = RecordingWalk(source, lambda done: progress(done, total), require_poses=False)
    with BagWriter(path, storage) as bag:
        start_ns = None
        for frame, image in walk.results(lambda frame: image_reader(frame)()):
            stamp_ns = frame.stamp_ns if rate is None else round(frame.index * 1e9 / rate)
            if start_ns is None:
                start_ns = UNSET_STAMP_NS if stamp_ns == 0 else 0
            stamp_ns += start_ns
            if frame.pose is not None:
                bag.write_odometry(odometry_topic, stamp_ns, frame.pose)
            bag.write_image(topic, stamp_ns, image, compressed)
        walk.finish()
    return walk.used
