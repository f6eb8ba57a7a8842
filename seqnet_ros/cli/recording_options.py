"""Convert the options of a command to the recordings of an evaluation."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqnet_ros.core.errors import InputError, quoted

if TYPE_CHECKING:
    from seqnet_ros.evaluation.replay.recordings import RecordingOptions

_RANGE = re.compile(r'(\d*):(\d*)')


def recording_options(
    sources: Sequence[Path], poses: Sequence[Path] | None, truth: Sequence[str] | None,
    frames: str | None, topic: str | None = None, pose_topic: str | None = None,
    rate: float | None = None,
) -> 'RecordingOptions':
    """Return the recordings of one side of an evaluation.

    Topics apply to bags and the rate to other recordings, so that both sides can share options.

    Raises:
        InputError: the range of frames is invalid.
    """
    from seqnet_ros.datasets.recordings.bag_files import is_bag
    from seqnet_ros.evaluation.replay.recordings import RecordingOptions

    bags = any(path.exists() and is_bag(path) for path in sources)
    return RecordingOptions(
        tuple(sources), topic if bags else None, tuple(poses or ()), pose_topic if bags else None,
        None if bags else rate, tuple(truth or ()), read_range(frames))


def read_range(text: str | None) -> tuple[int, int | None]:
    """Read '0:400', ':400' or '400:'; None is everything.

    Raises:
        InputError: the text is not a range of frames.
    """
    if text is None:
        return 0, None
    match = _RANGE.fullmatch(text)
    if match is None:
        raise InputError(f'the range is {quoted(text)}, expected frames such as 0:400 or 400:')
    return int(match[1] or 0), int(match[2]) if match[2] else None
