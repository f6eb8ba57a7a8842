"""The camera of a node that is measured."""

import time
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

_PATIENCE_S = 60.0


class Camera:
    """Publishes images, and receives what the node makes of them."""

    def __init__(self) -> None:
        import rclpy
        from sensor_msgs.msg import Image

        self._image_type = Image
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('bench_camera', context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._images = self._node.create_publisher(Image, 'image', 10)

    def listen(self, kind: type, topic: str, take: Callable[[Any], None]) -> None:
        """Pass on the messages of a topic."""
        self._node.create_subscription(kind, topic, take, 10)

    def wait_for_node(self, topic: str | None = None) -> None:
        """Wait until a node takes the images and publishes on a topic."""
        self.wait(self._images.get_subscription_count, 'a subscription')
        if topic is not None:
            self.wait(lambda: self._node.count_publishers(topic), f'a publisher of {topic}')
            time.sleep(1.0)  # the node has to discover the subscription in turn

    def message(self, image: np.ndarray, stamp_ns: int = 0) -> Any:
        """Return the message of an RGB uint8 image ``[H, W, 3]``."""
        height, width = image.shape[:2]
        message = self._image_type(height=height, width=width, encoding='rgb8', step=width * 3,
                                   data=array('B', image.tobytes()))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10 ** 9)
        return message

    def publish(self, message: Any) -> None:
        """Publish one image."""
        self._images.publish(message)

    def show(self, images: np.ndarray, rate: float, seconds: float, first_ns: int,
             step_ns: int) -> dict[int, float]:
        """Publish RGB images in turn at a rate, whatever comes back.

        Args:
            images: uint8 ``[N, H, W, 3]``.
            rate: images per second.
            seconds: for how long.
            first_ns: stamp of the first one.
            step_ns: from one stamp to the next.

        Returns:
            When each was published, by its stamp; ``time.perf_counter`` seconds.
        """
        messages = [self.message(image) for image in images]
        published: dict[int, float] = {}
        due = time.perf_counter()
        for number in range(round(rate * seconds)):
            message, stamp_ns = messages[number % len(messages)], first_ns + number * step_ns
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10 ** 9)
            self.spin(due - time.perf_counter())
            published[stamp_ns] = time.perf_counter()
            self.publish(message)
            due += 1 / rate
        return published

    def spin(self, seconds: float) -> None:
        """Receive for a time."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Receive until a condition holds.

        Raises:
            TimeoutError: it does not within a minute.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(f'{what} did not come within {_PATIENCE_S:g} s')

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
