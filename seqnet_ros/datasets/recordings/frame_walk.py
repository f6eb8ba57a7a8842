"""Walk through a recording: images that cannot be used are skipped and counted."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np

from seqnet_ros.core.errors import DamagedImageError, InputError
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.open_recording import PosedSource

Progress = Callable[[int], None]
Item = TypeVar('Item')
Result = TypeVar('Result')

_logger = logging.getLogger(__name__)
_NAMED = 3


def image_reader(frame: Frame) -> Callable[[], np.ndarray]:
    """Return a function that reads the image of a frame, RGB uint8 ``[H, W, 3]``.

    It raises `DamagedImageError` where the image cannot be read.
    """
    def read() -> np.ndarray:
        try:
            return frame.read()
        except InputError as error:
            raise DamagedImageError(str(error)) from error

    return read


class FrameWalk(Generic[Item]):
    """The one walk through a recording that all commands share.

    Two kinds of images are skipped and counted: images without a pose where poses are required,
    since a camera often starts before the odometry does, and damaged images.

    Args:
        items: the frames, or objects that represent them.
        lacks_pose: returns whether an item lacks the pose that it needs.
        progress: called after each item with the number done so far.

    Attributes:
        used: number of items that were used.
        without_pose: number of items skipped because they have no pose.
        damaged: one message for each unreadable image, with its name.
    """

    def __init__(self, items: Iterable[Item], lacks_pose: Callable[[Item], bool] = lambda _: False,
                 progress: Progress = lambda _: None) -> None:
        self._items, self._lacks_pose, self._progress = items, lacks_pose, progress
        self.used = 0
        self.without_pose = 0
        self.damaged: list[str] = []

    def results(self, use: Callable[[Item], Result]) -> Iterator[tuple[Item, Result]]:
        """Yield the items that can be used, each with what `use` returned for it.

        Args:
            use: works on one item; an item for which it raises `DamagedImageError` is skipped.
        """
        for done, item in enumerate(self._items, 1):
            if self._lacks_pose(item):
                self.without_pose += 1
            else:
                try:
                    result = use(item)
                except DamagedImageError as error:
                    self.damaged.append(str(error))
                else:
                    self.used += 1
                    yield item, result
            self._progress(done)

    @property
    def total(self) -> int:
        """Number of items so far, used or skipped."""
        return self.used + self.without_pose + len(self.damaged)

    def require_used(self, name: str, pose_origin: str = '') -> None:
        """Check that not every item was skipped.

        Args:
            name: name of the recording, for the message.
            pose_origin: source of its poses, for the message.

        Raises:
            InputError: every item was skipped.
        """
        if self.used:
            return
        if self.damaged:
            raise InputError(f'no image of {name} can be used, {len(self.damaged)} of {self.total} '
                             f'cannot be read: {self.damaged[0]}')
        if self.without_pose:
            raise InputError(f'no image of {name} has a pose from {pose_origin}, expected poses at '
                             'the times of the images')

    def conclude(self, name: str, pose_origin: str = '') -> None:
        """Warn about skipped images, after the walk; arguments as for `require_used`.

        Raises:
            InputError: every item was skipped.
        """
        self.require_used(name, pose_origin)
        warn_without_pose(self.without_pose, self.total, name)
        warn_damaged(self.damaged, self.total)


class RecordingWalk(FrameWalk[Frame]):
    """A walk through the frames of one recording.

    Args:
        source: the recording.
        progress: called after each frame with the number done so far.
        require_poses: skip frames without a pose, if the recording has poses at all.
    """

    def __init__(self, source: FrameSource, progress: Progress = lambda _: None,
                 require_poses: bool = True) -> None:
        posed = require_poses and isinstance(source, PosedSource)
        super().__init__(source, lambda frame: posed and frame.pose is None, progress)
        self._source = source

    def finish(self) -> None:
        """Warn about skipped images, after the walk.

        Raises:
            InputError: no image could be used.
        """
        self.conclude(self._source.name, self._source.pose_origin)


def warn_without_pose(count: int, total: int, recording: str) -> None:
    """Log how many images were skipped because they have no pose."""
    if count:
        _logger.warning('%s: skipped %d of %d images without a pose at their time',
                        recording, count, total)


def warn_damaged(damaged: Sequence[str], total: int) -> None:
    """Log how many images were skipped because they are damaged, and name the first few."""
    if not damaged:
        return
    named = '; '.join(damaged[:_NAMED])
    more = len(damaged) - _NAMED
    _logger.warning('%d of %d images cannot be read and were skipped: %s', len(damaged), total,
                    f'{named}; and {more} more' if more > 0 else named)
