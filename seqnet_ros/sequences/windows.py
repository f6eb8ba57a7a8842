"""Windows of frames that form the sequence of a frame: index arrays, never copies of descriptors.

Live, a window is trailing (it ends at the newest frame). The papers evaluate with centered
windows (SeqNet, Garg and Milford, RA-L 2021, section III).
"""

import numpy as np

from seqnet_ros.core.errors import InputError


def trailing_windows(starts: np.ndarray, length: int) -> np.ndarray:
    """Return the frames of the window that ends at each frame, oldest first.

    A window never reaches into an earlier segment: where fewer frames exist, the first frame of
    the segment is repeated.

    Args:
        starts: int ``[N]``, for every frame the index of the first frame of its segment.
        length: frames per window.

    Returns:
        int64 ``[N, length]``.
    """
    last = np.arange(len(starts))
    steps = np.arange(-(length - 1), 1)
    return np.maximum(last[:, None] + steps, np.asarray(starts)[:, None])


def centred_windows(bounds: np.ndarray, length: int, compat: bool = False) -> np.ndarray:
    """Return the frames of the window centered on each frame, oldest first.

    Frame ``i`` is at position ``length // 2``. Near a boundary the window is shifted, not padded.

    Args:
        bounds: int ``[N, 2]``, for every frame the first and one-past-last frame of its sequence.
        length: frames per window.
        compat: windows of sequences shorter than ``length`` leave the sequence, as in the
            published SeqNet code (negative and too large indices included); otherwise such a
            window repeats the last frames of its own sequence.

    Returns:
        int64 ``[N, length]``.

    Raises:
        InputError: ``bounds`` is not ``[N, 2]`` or a frame is outside its bounds.
    """
    bounds = np.asarray(bounds)
    if bounds.ndim != 2 or bounds.shape[1] != 2:
        raise InputError(f'sequence bounds have shape {bounds.shape}, expected [N, 2]')
    low, high = bounds[:, :1], bounds[:, 1:]
    frame = np.arange(len(bounds))[:, None]
    if np.any((frame < low) | (frame >= high)):
        wrong = int(np.argmax(((frame < low) | (frame >= high))[:, 0]))
        raise InputError(
            f'frame {wrong} is outside its sequence bounds {bounds[wrong].tolist()}')
    first = np.maximum(low, frame - length // 2)
    end = np.minimum(high, frame + length - length // 2)
    # The left rule comes first: a window cut on the left grows to the right.
    cut_left, cut_right = first == low, end == high
    first = np.where(~cut_left & cut_right, end - length, first)
    windows = first + np.arange(length)
    if compat:
        return windows
    return np.clip(windows, low, high - 1)


def is_full_window(bounds: np.ndarray, length: int) -> np.ndarray:
    """Return bool ``[N]``: the centered window of this frame fits its sequence unshifted."""
    bounds = np.asarray(bounds)
    frame = np.arange(len(bounds))
    half = length // 2
    return (frame - half >= bounds[:, 0]) & (frame + length - half <= bounds[:, 1])
