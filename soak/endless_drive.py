"""An endless drive with faults in its images, stamps and odometry."""

import random
import time
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np

from soak.peer import Peer
from soak.streets import STEP_NS, Lap

_SECOND_NS = 10**9
_PAUSES_S = (0.0, 0.001, 0.003, 0.006)
"""Between two images: from faster than any node to a little slower than a fast one."""
_TIME_FOR_ONE_S = 0.02
"""Between images that each should be looked at."""
_START_NS = 1000 * _SECOND_NS
_FIRST_RATE = 100.0
"""Images a second before the rate of the node is known."""
_LARGEST_RATE = 2000.0
_STEP = 1.2
"""Most that the rate changes at once."""


@dataclass
class Paced:
    """What was sent and processed while a node was given more images than it can process."""

    sent: int = 0
    received: int = 0
    processed: int = 0
    seconds: float = 0.0

    def add(self, sent: int, received: int, processed: int, seconds: float) -> None:
        """Add a while."""
        self.sent += sent
        self.received += received
        self.processed += processed
        self.seconds += seconds


class EndlessDrive:
    """Sends the images of laps through two streets, one after the other.

    Args:
        peer: who sends.
        laps: the drives.
        chance: decides how fast images come.
        factor: so many images reach the node for each that it processes, in place of chance.
    """

    def __init__(self, peer: Peer, laps: list[Lap], chance: random.Random,
                 factor: float | None = None) -> None:
        self._peer = peer
        self._laps = laps
        self._chance = chance
        self._messages = [lap.messages() for lap in laps]
        self._street = 0
        self._frame = 0
        self._clock_ns = _START_NS
        self._lap_start_ns = _START_NS
        self.odometry = True
        self.images = 0
        self._factor = factor
        self._rate = _FIRST_RATE
        self.paced = Paced()

    def go(self, count: int) -> None:
        """Send some images, as fast as chance or the factor has it."""
        pause_s = 1 / self._rate if self._factor else self._chance.choice(_PAUSES_S)
        next_s = time.monotonic()
        for _ in range(count):
            self._step()
            if self._factor:  # images that are late are not caught up with
                next_s = max(next_s + pause_s, time.monotonic() - pause_s)
                time.sleep(max(0.0, next_s - time.monotonic()))
            else:
                time.sleep(pause_s)

    def go_for(self, seconds: float) -> None:
        """Send images for a while, and see how many of those that arrive the node processes."""
        assert self._factor
        before, images, start_s = self._peer.counts, self.images, time.monotonic()
        while time.monotonic() < start_s + seconds:
            self.go(1)
        took_s = time.monotonic() - start_s
        after = self._peer.counts
        received, processed = (after[name] - before[name] for name in ('received', 'processed'))
        if processed <= 0:
            return
        self.paced.add(self.images - images, received, processed, took_s)
        # By what arrives: what the middleware loses on the way is no load of the node.
        change = self._factor * processed / max(received, 1)
        self._rate = min(self._rate * min(max(change, 1 / _STEP), _STEP), _LARGEST_RATE)

    def go_until(self, done: Any, at_least: int = 5) -> None:
        """Send images until a future is done."""
        while not done() or at_least > 0:
            self.go(1)
            at_least -= 1
            time.sleep(0.002)

    def _step(self, message: Any = None) -> None:
        """Send the next image, or another one in its place."""
        self._clock_ns += STEP_NS
        self._frame += 1
        if self._frame >= len(self._laps[self._street]):
            self._frame, self._lap_start_ns = 0, self._clock_ns
        self._send(message or self._messages[self._street][self._frame])

    def _send(self, message: Any) -> None:
        pose = self._laps[self._street].poses[self._frame]
        if self.odometry:
            self._peer.move(pose, self._clock_ns)
        self._peer.show(message, self._clock_ns, pose[:2])
        self.images += 1

    # What happens to time.

    def jump(self, seconds: float) -> None:
        """Let the clock jump, both ways."""
        self._clock_ns = max(self._clock_ns + round(seconds * _SECOND_NS), _START_NS)

    def loop(self) -> None:
        """Restart the lap with the same stamps, like a bag that is played in a loop."""
        self._clock_ns, self._frame = self._lap_start_ns, 0

    def change_street(self) -> None:
        """Go on in the other street."""
        self._street, self._frame = 1 - self._street, 0

    def stand(self, count: int) -> None:
        """Send the same image and pose again and again."""
        for _ in range(count):
            self._clock_ns += STEP_NS
            self._send(self._messages[self._street][self._frame])
            time.sleep(0.003)

    def repeat_stamp(self) -> None:
        """Send several images of one stamp."""
        for _ in range(3):
            self._send(self._messages[self._street][self._frame])

    # What happens to images.

    def views(self, count: int) -> list[Any]:
        """Return messages of successive images, stamped and noted as sent."""
        from seqnet_ros.nodes.conversions import stamp_from_ns

        lap = self._laps[self._street]
        first = self._chance.randrange(len(lap) - count)
        messages = Lap(lap.images[first: first + count], []).messages()
        for number, message in enumerate(messages):
            stamp_ns = self._clock_ns + (number + 1) * STEP_NS
            message.header.stamp = stamp_from_ns(stamp_ns)
            message.header.frame_id = self._peer.sent.note(stamp_ns, lap.poses[first + number][:2])
        return messages

    def show_odd(self) -> None:
        """Send images in unusual encodings and sizes, and some that no camera should send."""
        for message in (*self._unusual(), *broken_images()):
            self._step(message)
            time.sleep(_TIME_FOR_ONE_S)
        self._peer.show(self._messages[self._street][self._frame], 0)
        self.images += 1

    def _unusual(self) -> list[Any]:
        image = self._laps[self._street].images[self._frame]
        gray = image.mean(axis=2).astype(np.uint8)
        alpha = np.concatenate([image[..., ::-1], image[..., :1]], axis=2)
        return [
            make_message(gray, 'mono8'), make_message(gray.astype('>u2') * 257, 'mono16', True),
            make_message(alpha, 'bgra8'), make_message(gray, 'bayer_rggb8'),
            make_message(image[::2, ::2], 'rgb8'), make_message(image[:1, :1], 'rgb8')]

    # What happens to odometry.

    def break_odometry(self) -> None:
        """Send poses that cannot be, and some from the past."""
        lap = self._laps[self._street]
        self._peer.move(np.array([np.nan, 0, 0, 0, 0, 0, 1.0]), self._clock_ns)
        self._peer.move(np.zeros(7), self._clock_ns)
        self._peer.move(lap.poses[0], 0)
        for number in range(3):
            self._peer.move(lap.poses[number], self._clock_ns - 100 * _SECOND_NS
                            + number * STEP_NS)


def make_message(image: np.ndarray, encoding: str, big_endian: bool = False) -> Any:
    """Return an image ``[H, W]`` or ``[H, W, C]`` as a message of that encoding."""
    from sensor_msgs.msg import Image

    image = np.ascontiguousarray(image)
    message = Image(height=image.shape[0], width=image.shape[1], encoding=encoding,
                    step=image.strides[0], is_bigendian=int(big_endian))
    message.header.frame_id = 'camera'
    message.data = array('B', image.tobytes())
    return message


def broken_images() -> list[Any]:
    """Return images that cannot be used."""
    image = np.zeros((12, 16, 3), dtype=np.uint8)
    short, wide, nothing = (make_message(image, 'rgb8') for _ in range(3))
    short.data = short.data[:100]
    wide.step = 7
    nothing.height = nothing.width = nothing.step = 0
    nothing.data = array('B')
    return [short, wide, nothing, make_message(np.zeros((4, 4), np.float32), '32FC1'),
            make_message(image, 'no such encoding')]
