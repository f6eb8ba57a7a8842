"""A drive whose descriptors were computed elsewhere: rows of an array in the place of images."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_text, require_file
from seqnet_ros.core.poses import Trajectory
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.image_folder import DEFAULT_RATE_HZ
from seqnet_ros.datasets.recordings.open_recording import PosedSource
from seqnet_ros.datasets.recordings.pose_files import read_poses

_SECOND_NS = 1_000_000_000


class DescriptorRows:
    """A `FrameSource` whose frames are rows of an array.

    Args:
        rows: floating-point ``[N, D]``.
        frames: N frames whose times the rows have; what they read is not used.
        name: name of the array.
        pose_origin: source of the poses of the frames.
    """

    def __init__(self, rows: np.ndarray, frames: FrameSource, name: str, pose_origin: str) -> None:
        self._rows, self._frames = rows, frames
        self.name = name
        self.pose_origin = pose_origin
        self.problems = frames.problems
        self.timed = frames.timed

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; reading one returns its row, floating-point ``[D]``."""
        for frame, row in zip(self._frames, self._rows, strict=True):
            yield replace(frame, read=partial(np.asarray, row))


class _Stamped:
    """Frames that are known by their times only."""

    pose_origin = 'none'

    def __init__(self, stamps_ns: np.ndarray, name: str, timed: bool) -> None:
        self._stamps_ns = stamps_ns
        self.name = name
        self.problems: list[str] = []
        self.timed = timed

    def __len__(self) -> int:
        return len(self._stamps_ns)

    def __iter__(self) -> Iterator[Frame]:
        for index, stamp in enumerate(self._stamps_ns):
            yield Frame(index, int(stamp), _nothing, name=f'{self.name} row {index}')


def open_descriptors(path: Path, recording: FrameSource | None = None,
                     poses: Path | None = None, stamps: Path | None = None,
                     rate: float | None = None) -> FrameSource:
    """Open descriptors that were computed elsewhere as a recording.

    Args:
        path: ``.npy`` file, floating-point ``[N, D]``; one row for each moment.
        recording: what they are descriptors of: its N images give times and poses.
        poses: without a recording, a pose file. It has N poses, one for each row, unless the times
            of the rows are given too.
        stamps: without a recording, a file of N times: text, one a line, seconds or integer
            nanoseconds, or ``.npy``, integer nanoseconds.
        rate: rows per second where nothing gives their times; None for 10.

    Returns:
        The recording; its frames read rows, floating-point ``[D]``.

    Raises:
        InputError: a file cannot be used, or the numbers of rows, times and poses differ.
    """
    if rate is not None and not 0 < rate < float('inf'):
        raise InputError(f'rate is {rate:g} descriptors per second, expected more than 0')
    rows = _read_rows(path)
    if recording is not None:
        _check_count(path, rows, len(recording), f'images in {recording.name}')
        found = DescriptorRows(rows, recording, path.name, recording.pose_origin)
        return PosedSource(found, recording.poses) if isinstance(recording, PosedSource) else found
    trajectory = None if poses is None else read_poses(poses)
    timed = stamps is not None or isinstance(trajectory, Trajectory)
    if stamps is not None:
        times = _read_stamps(stamps)
        _check_count(path, rows, len(times), f'times in {stamps}')
    elif isinstance(trajectory, Trajectory):
        times = trajectory.stamps_ns
        _check_count(path, rows, len(times), f'poses in {poses}')
    else:
        if trajectory is not None:
            _check_count(path, rows, len(trajectory.poses), f'poses in {poses}')
        times = np.arange(len(rows)) * round(_SECOND_NS / (rate or DEFAULT_RATE_HZ))
    found = DescriptorRows(rows, _Stamped(times, path.name, timed), path.name, 'none')
    return found if trajectory is None else PosedSource(found, trajectory)


def _read_rows(path: Path) -> np.ndarray:
    require_file(path)
    try:
        rows = np.load(path, mmap_mode='r', allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f'{path} cannot be read as an array (.npy): {error}') from error
    is_array = isinstance(rows, np.ndarray)
    if not is_array or rows.ndim != 2 or rows.dtype.kind != 'f' or not rows.size:
        found = f'{rows.dtype} {list(rows.shape)}' if is_array else type(rows).__name__
        raise InputError(f'{path} holds {found}, expected descriptors: floating-point numbers '
                         '[N, D]')
    return rows


def _read_stamps(path: Path) -> np.ndarray:
    if path.suffix == '.npy':
        require_file(path)
        try:
            stamps = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f'{path} cannot be read as an array (.npy): {error}') from error
        if stamps.ndim != 1 or stamps.dtype.kind not in 'iu':
            raise InputError(f'{path} holds {stamps.dtype} {list(stamps.shape)}, expected integer '
                             'nanoseconds [N]')
        stamps = stamps.astype(np.int64)
    else:
        lines = read_text(path).split('\n')
        stamps = np.array([_to_ns(line.strip(), f'{path} line {number}')
                           for number, line in enumerate(lines, 1) if line.strip()], np.int64)
    falling = np.flatnonzero(np.diff(stamps) < 0)
    if falling.size:
        raise InputError(f'{path}: time {int(falling[0]) + 2} is before the one ahead of it, '
                         'expected ascending times')
    return stamps


def _to_ns(text: str, where: str) -> int:
    """Return a time in nanoseconds; long integers are nanoseconds already."""
    try:
        value = Decimal(text)
        stamp = int(value if text.isdecimal() and len(text) >= 17 else value * _SECOND_NS)
    except (InvalidOperation, ValueError, OverflowError):
        raise InputError(f'{where} holds {text!r}, expected a time') from None
    if not -2**63 <= stamp < 2**63:
        raise InputError(f'{where} has the time {text}, expected less than 292 years')
    return stamp


def _check_count(path: Path, rows: np.ndarray, found: int, what: str) -> None:
    if len(rows) != found:
        raise InputError(f'{path} has {len(rows)} descriptors, but there are {found} {what}, '
                         'expected one for each')


def _nothing() -> np.ndarray:
    raise InputError('there is no image, only a descriptor')
