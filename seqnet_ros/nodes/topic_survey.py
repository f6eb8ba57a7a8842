"""A survey of published topics: ``seqnet_ros quickstart`` runs it in a process of its own.

``python -m seqnet_ros.nodes.topic_survey topics SECONDS`` writes the topics of cameras,
calibrations and odometry as JSON; ``... report NODE SECONDS`` the last diagnostics of a node.
"""

import json
import sys
import time
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

KINDS = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'sensor_msgs/msg/CameraInfo': CameraInfo,
    'nav_msgs/msg/Odometry': Odometry,
}
_LOOK_S = 0.1


class TopicSurvey:
    """Subscribes to every topic of `KINDS` that is published, and counts.

    Attributes:
        topics: by name, the type and what came: number of messages and the first one's fields.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.topics: dict[str, dict[str, Any]] = {}

    def look(self) -> None:
        """Subscribe to the topics that have appeared."""
        for name, types in self._node.get_topic_names_and_types():
            if name in self.topics or not self._node.count_publishers(name):
                continue
            for kind in types:
                if kind in KINDS:
                    self.topics[name] = {'name': name, 'type': kind, 'messages': 0}
                    self._node.create_subscription(
                        KINDS[kind], name, partial(self._note, name), qos_profile_sensor_data)

    def _note(self, name: str, message: Any) -> None:
        topic = self.topics[name]
        topic['messages'] += 1
        if topic['messages'] == 1:
            topic['frame'] = message.header.frame_id
            for field in ('width', 'height', 'encoding', 'format'):
                if hasattr(message, field):
                    topic[field] = getattr(message, field)


class ReportWatch:
    """Keeps the last diagnostics of a node.

    Attributes:
        values: the values by key, with ``message``; empty before the first report.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._name = name
        self.values: dict[str, str] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._note, 10)

    def _note(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.split(':')[0] == self._name:
                self.values = {'message': status.message,
                               **{item.key: item.value for item in status.values}}


def main(arguments: list[str]) -> None:
    """Run the survey or the report, and write the result to stdout as JSON."""
    rclpy.init(args=[])
    node = rclpy.create_node('seqnet_ros_survey')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    survey, watch = None, None
    if arguments[0] == 'topics':
        survey = TopicSurvey(node)
    else:
        watch = ReportWatch(node, arguments[1])
    deadline = time.monotonic() + float(arguments[-1])
    while time.monotonic() < deadline:
        if survey is not None:
            survey.look()
        executor.spin_once(timeout_sec=_LOOK_S)
    print(json.dumps(list(survey.topics.values()) if survey is not None
                     else watch.values if watch is not None else {}))
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main(sys.argv[1:])
