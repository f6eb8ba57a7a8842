"""Descriptors of a recording on disk: a frame is described once, however often it is evaluated.

The engine requests images one at a time. Where a frame was described before, by this or an
interrupted run, it gets the descriptor of then; the results are the same to the bit.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from seqnet_ros.core.files import explain_write_errors
from seqnet_ros.datasets.recordings.frame_walk import image_reader
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.descriptors.describer import FrameDescriber
from seqnet_ros.descriptors.device import Device
from seqnet_ros.evaluation.replay.recordings import Recordings, ReplayFrame
from seqnet_ros.models.place_model import PlaceModel

_PLACEHOLDER = np.zeros((1, 1, 3), dtype=np.uint8)


class DescriptorFile:
    """Descriptors of the frames of one recording, appended as they are made.

    A record that a killed process left unfinished is cut off.

    Args:
        path: the file; made where there is none.
        dim: length of a descriptor.

    Raises:
        InputError: the file cannot be read or written.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self._path = path
        self._type = np.dtype(
            [('frame', '<i8'), ('seconds', '<f8'), ('descriptor', '<f4', (dim,))])
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open('ab') as file:
                whole = file.tell() - file.tell() % self._type.itemsize
                file.truncate(whole)
            records = np.fromfile(path, dtype=self._type)
            self._file = path.open('ab', buffering=0)
        self._found = {int(record['frame']): (record['descriptor'], float(record['seconds']))
                       for record in records}

    def __len__(self) -> int:
        """Return the number of frames described so far."""
        return len(self._found)

    def get(self, frame: int) -> tuple[np.ndarray, float] | None:
        """Return the descriptor ``[D]`` of a frame and the seconds it took; None if unknown."""
        return self._found.get(frame)

    def put(self, frame: int, descriptor: np.ndarray, seconds: float) -> None:
        """Add the descriptor of a frame.

        Raises:
            InputError: it cannot be written.
        """
        record = np.array([(frame, seconds, descriptor)], dtype=self._type)
        with explain_write_errors(self._path):
            self._file.write(record.tobytes())
        self._found[frame] = record['descriptor'][0], seconds

    def close(self) -> None:
        """Close the file; what was read stays in memory."""
        self._file.close()


class CachingDescriber:
    """A describer that asks another one only for frames that are not in their files yet.

    Args:
        describer: makes the descriptors.
        needs_images: whether the engine looks at the images, too; frames that were described before
            are then still decoded.
    """

    def __init__(self, describer: FrameDescriber, needs_images: bool = False) -> None:
        self._describer = describer
        self._needs_images = needs_images
        self._current: tuple[DescriptorFile, int] | None = None
        self.last_seconds = 0.0
        """Time taken to describe the last frame, in this or an earlier run."""

    @property
    def name(self) -> str:
        """Human-readable name of the describer."""
        return self._describer.name

    @property
    def dim(self) -> int:
        """Length of a descriptor."""
        return self._describer.dim

    @property
    def weights_digest(self) -> str:
        """Hash of the weights."""
        return self._describer.weights_digest

    @property
    def sequence_tensors(self) -> Mapping[str, Tensor]:
        """Tensors that came with the weights for the sequence aggregator."""
        return self._describer.sequence_tensors

    def reader(self, file: DescriptorFile, frame: Frame) -> Callable[[], np.ndarray]:
        """Return what gives the engine the image of a frame.

        What is returned raises `DamagedImageError` where the image cannot be read.
        """
        read_image = image_reader(frame)

        def read() -> np.ndarray:
            self._current = file, frame.index
            if not self._needs_images and file.get(frame.index) is not None:
                return _PLACEHOLDER
            return read_image()

        return read

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Describe the one image that was read last, float32 ``[1, dim]``.

        Raises:
            InputError: the image is not RGB uint8 ``[H, W, 3]``.
        """
        if self._current is None or len(images) != 1:
            return self._describer.describe(images)
        file, frame = self._current
        self._current = None
        found = file.get(frame)
        if found is None:
            started = time.perf_counter()
            descriptor = self._describer.describe(images)[0]
            found = descriptor, time.perf_counter() - started
            file.put(frame, *found)
        descriptor, self.last_seconds = found
        return descriptor[None]


def device_name(device: Device) -> str:
    """Return what runs networks: the same image gets the same descriptor where this is equal."""
    return f'{device.device} (openvino)' if device.openvino else str(device.device)


def recording_key(path: Path, topic: str | None, fingerprint: str, device: str) -> str:
    """Return a short hash that changes with a recording's files, its topic and what describes it.

    Files are told apart by name, size and time of change, which a look at the folder tells.
    """
    files = sorted(file for file in path.rglob('*') if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256('\0'.join(
        (str(path.resolve()), topic or '', fingerprint, device)).encode())
    for file in files:
        status = file.stat()
        digest.update(f'{file.relative_to(path)}\0{status.st_size}\0{status.st_mtime_ns}'.encode())
    return digest.hexdigest()[:16]


class DescriptorCache:
    """A model whose descriptors stay in files of a folder, one for each recording.

    Attributes:
        model: the model, to be given to the engine.

    Args:
        model: what describes.
        folder: where the files lie, or are made.
    """

    def __init__(self, model: PlaceModel, folder: Path) -> None:
        self._describer = CachingDescriber(
            # The geometric check looks at images that were described before.
            model.describer, model.engine.geometry is not None)
        self.model = replace(model, describer=self._describer)
        self._folder = folder
        self._files: dict[str, DescriptorFile] = {}

    @property
    def last_seconds(self) -> float:
        """Time taken to describe the last frame."""
        return self._describer.last_seconds

    def files(self, recordings: Recordings) -> list[DescriptorFile]:
        """Return the files of some recordings."""
        found = []
        for path in recordings.options.paths:
            key = recording_key(path, recordings.options.topic, self.model.fingerprint,
                                device_name(self.model.device))
            if key not in self._files:
                self._files[key] = DescriptorFile(
                    self._folder / f'{key}.f32', self.model.describer.dim)
            found.append(self._files[key])
        return found

    def reader(self, files: list[DescriptorFile],
               found: ReplayFrame) -> Callable[[], np.ndarray]:
        """Return what gives the engine an image, see `RememberingDescriber.reader`."""
        return self._describer.reader(files[found.recording], found.frame)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
