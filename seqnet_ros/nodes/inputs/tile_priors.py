"""Position priors from topics, which limit the tiles of a collection that are searched."""

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import NavSatFix
from std_msgs.msg import String

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import is_fix
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.maps.collection.prior import AreaPrior, FixPrior, PosePrior, Prior
from seqnet_ros.nodes.error_log import ErrorLog
from seqnet_ros.nodes.settings import LocalizerSettings

_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_DEVIATIONS = 3.0
_FIX, _AREA, _POSE = 'fix', 'area', 'pose'
MakePrior = Callable[[CollectionLocalizer], Prior | None]


class TilePriors:
    """Subscribes to the topics that parameters name, and gives the priors to the engine.

    Messages only wait here; the worker takes them with the next image.

    Args:
        node: the subscribing node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._subscriptions: list[Any] = []
        self._waiting: dict[str, MakePrior] = {}
        self._errors = {source: ErrorLog(node.get_logger(), what) for source, what in (
            (_FIX, 'a fix'), (_AREA, 'an area'), (_POSE, 'a pose'))}

    @property
    def waiting(self) -> tuple[str, ...]:
        """Sources with a message for the next image: 'fix', 'area' or 'pose'."""
        return tuple(self._waiting)

    @property
    def refused(self) -> int:
        """Number of messages that agree with no tile or cannot be used."""
        return sum(errors.unusable for errors in self._errors.values())

    def start(self, settings: LocalizerSettings) -> None:
        """Subscribe to the topics that are set."""
        self._waiting = {}
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE,
                          reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind, qos, take in (
                (settings.fix_topic, NavSatFix, _NEWEST, self._on_fix),
                (settings.area_topic, String, kept, self._on_area),
                (settings.prior_pose_topic, PoseWithCovarianceStamped, kept, self._on_pose)):
            if topic:
                self._subscriptions.append(
                    self._node.create_subscription(kind, topic, take, qos))

    def stop(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def apply(self, engine: CollectionLocalizer) -> None:
        """Give the engine the priors since the last image; on the worker's thread."""
        waiting, self._waiting = self._waiting, {}
        for source, make in waiting.items():
            try:
                engine.use_prior(source, make(engine))
            except InputError as error:
                self._errors[source].add(error)

    def _wait(self, source: str, make: MakePrior) -> None:
        # A new dictionary: the worker may be taking the old one.
        self._waiting = {**self._waiting, source: make}

    def _on_fix(self, message: NavSatFix) -> None:
        if message.status.status < message.status.STATUS_FIX or not is_fix(
                message.latitude, message.longitude):
            self._wait(_FIX, _nothing)
            return
        covariance = np.reshape(message.position_covariance, (3, 3))[:2, :2]
        self._wait(_FIX, lambda engine: FixPrior(
            float(message.latitude), float(message.longitude), _radius(covariance, engine)))

    def _on_area(self, message: String) -> None:
        area = str(message.data)
        self._wait(_AREA, (lambda _: AreaPrior(area)) if area else _nothing)

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        position = message.pose.pose.position
        covariance = np.reshape(message.pose.covariance, (6, 6))[:2, :2]
        self._wait(_POSE, lambda engine: PosePrior(
            _frame(engine, str(message.header.frame_id)),
            (float(position.x), float(position.y)), _radius(covariance, engine)))


def _nothing(_: CollectionLocalizer) -> None:
    """Know nothing."""


def _radius(covariance: np.ndarray, engine: CollectionLocalizer) -> float:
    """Return how far the robot may be from a position with a covariance ``[2, 2]``, meters."""
    variance = float(np.linalg.eigvalsh(covariance).max()) if np.isfinite(covariance).all() else 0.0
    return engine.collection.config.prior_radius_m + _DEVIATIONS * float(
        np.sqrt(max(variance, 0.0)))


def _frame(engine: CollectionLocalizer, frame_id: str) -> str:
    """Return the frame of the tiles that a message is in.

    Raises:
        InputError: no tile has it, and they have several.
    """
    frames = list(dict.fromkeys(engine.collection.frames.values()))
    if frame_id in frames or len(frames) > 1:
        if frame_id not in frames:
            raise InputError(f'the pose is in frame {frame_id!r}, expected one of the tiles: '
                             f'{", ".join(frames[:5])}')
        return frame_id
    return frames[0]
