"""From two recordings of one route to a data set in the files of the published SeqNet code."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqnet_ros.core.batches import batches
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import require_writable, staging_folder
from seqnet_ros.core.geodesy import enu_to_latlon
from seqnet_ros.datasets.frame_pairing import FramePairing
from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.open_recording import PosedSource
from seqnet_ros.datasets.seqnet.dataset_files import (
    bounds_of_starts,
    write_bounds,
    write_descriptors,
    write_names,
)
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, write_struct
from seqnet_ros.datasets.seqnet.splits import SPLITS
from seqnet_ros.datasets.utm_grid import are_degrees
from seqnet_ros.evaluation.metrics.ground_truth import (
    explain_no_match,
    matches_within,
    require_matches,
)
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.keyframes import KeyframeGate, Spacing, Verdict

_BATCH = 16
_NAME = re.compile(r'[A-Za-z0-9][\w.-]*', re.ASCII)


@dataclass(frozen=True, eq=False)
class Traverse:
    """One drive through a data set.

    Attributes:
        images: N names.
        descriptors: float32 ``[N, D]``.
        positions: float64 ``[N, 2]``, meters, or ``[N, 1]``, frame numbers.
        starts: first frame of every unbroken sequence, ascending from 0.
        gps: float64 ``[N, 2]``, latitude and longitude, degrees, or None.
        stamps_ns: int64 ``[N]`` or None.
    """

    images: tuple[str, ...]
    descriptors: np.ndarray
    positions: np.ndarray
    starts: tuple[int, ...]
    gps: np.ndarray | None = None
    stamps_ns: np.ndarray | None = None


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a data set, in the layout of the published code.

    Attributes:
        struct: positions, names and radii.
        descriptors: of the reference and of the query.
        bounds: of their sequences.
        names: of their images.
    """

    struct: Path
    descriptors: tuple[Path, Path]
    bounds: tuple[Path, Path]
    names: tuple[Path, Path]


def check_comparable(reference: FrameSource, query: FrameSource) -> None:
    """Check that the positions of two recordings can be compared.

    Raises:
        InputError: one has poses and the other has none, or only one has GPS positions.
    """
    posed = [isinstance(source, PosedSource) for source in (reference, query)]
    datums = [getattr(source, 'datum', None) for source in (reference, query)]
    if posed[0] != posed[1] or (datums[0] is None) != (datums[1] is None):
        raise InputError(
            f'poses of {reference.name}: {reference.pose_origin}, of {query.name}: '
            f'{query.pose_origin}; expected both of the same kind')


def describe_traverse(source: FrameSource, model: PlaceModel, folder: str,
                      progress: Callable[[int], None] = lambda _: None, every: str | None = None,
                      timed: bool = True) -> Traverse:
    """Describe the images of a recording.

    A sequence breaks where the model's keyframe settings say so: at a gap in time, at a jump of
    the pose, and where time goes back. Images without a pose among others that have one are
    skipped, and so are damaged images.

    Args:
        source: the recording.
        model: its frame descriptor is used.
        folder: put before the names of the images.
        progress: called with the number of images done.
        every: spacing of the images that are used, such as '2m'; None uses every image.
        timed: the stamps of the recording are measured times.

    Raises:
        InputError: no image can be used, or the spacing is invalid, or needs poses and there are
            none.
    """
    images: list[str] = []
    positions, poses, stamps, starts, descriptors = [], [], [], [], []
    for frame, descriptor, broken in _selected(source, model, progress, every):
        if broken or not images:
            starts.append(len(images))
        images.append(f'{folder}/{frame.name.lstrip("/")}')
        positions.append(_position(frame))
        stamps.append(frame.stamp_ns)
        descriptors.append(descriptor)
        if frame.pose is not None:
            poses.append(frame.pose)
    datum = getattr(source, 'datum', None)
    gps = None if datum is None else enu_to_latlon(np.stack(poses)[:, :3], datum)
    return Traverse(tuple(images), np.stack(descriptors), np.array(positions), tuple(starts), gps,
                    np.array(stamps, dtype=np.int64) if timed else None)


def place_traverses(reference: Traverse, query: Traverse,
                    pairing: FramePairing) -> tuple[Traverse, Traverse]:
    """Put drives of frame numbers on one axis, in frames of the reference.

    Images of the query whose place is unknown are left out; sequences end there.

    Raises:
        InputError: no image of the query has a place.
    """
    first, second = (replace(drive, positions=places[drive.positions[:, 0].astype(int)][:, None])
                     for drive, places in ((reference, pairing.reference),
                                           (query, pairing.query)))
    return first, _cut(second, np.isfinite(second.positions[:, 0]))


def _cut(traverse: Traverse, kept: np.ndarray) -> Traverse:
    """Return the rows of a mask, bool ``[N]``; sequences end where rows were left out."""
    if not kept.any():
        raise InputError('no frame of the query has a place in the reference, expected at least '
                         'one')
    begins = np.zeros(len(kept), dtype=bool)
    begins[list(traverse.starts)] = True
    begins[1:] |= ~kept[:-1]
    # A sequence whose first rows were left out begins with its next one.
    starts = np.flatnonzero(begins[kept])
    rows = np.flatnonzero(kept)
    return replace(
        traverse, images=tuple(traverse.images[row] for row in rows.tolist()),
        descriptors=traverse.descriptors[rows], positions=traverse.positions[rows],
        starts=tuple(starts.tolist()),
        stamps_ns=None if traverse.stamps_ns is None else traverse.stamps_ns[rows])


def _selected(source: FrameSource, model: PlaceModel, progress: Callable[[int], None],
              every: str | None) -> Iterator[tuple[Frame, np.ndarray, bool]]:
    """Yield frames, their descriptors, and whether a sequence begins with them."""
    spacing = Spacing(1, '') if every is None else Spacing.parse(every)
    if spacing.unit == 'm' and not isinstance(source, PosedSource):
        raise InputError(f'a spacing of {every} needs poses, but {source.name} has none')
    gate = KeyframeGate(model.engine.keyframes, spacing)
    walk = RecordingWalk(source, progress)
    yield from (_all_frames if every is None else _keyframes)(walk, model, gate)
    walk.finish()


def _all_frames(walk: RecordingWalk, model: PlaceModel,
                gate: KeyframeGate) -> Iterator[tuple[Frame, np.ndarray, bool]]:
    breaks = _Breaks(gate)

    def read(frame: Frame) -> tuple[np.ndarray, bool]:
        breaks.note(frame)
        return image_reader(frame)(), breaks.take()

    for batch in batches(walk.results(read), _BATCH):
        described = model.describer.describe([image for _, (image, _) in batch])
        for (frame, (_, broken)), descriptor in zip(batch, described, strict=True):
            yield frame, descriptor, broken


def _keyframes(walk: RecordingWalk, model: PlaceModel,
               gate: KeyframeGate) -> Iterator[tuple[Frame, np.ndarray, bool]]:
    """Yield the frames that would become places of a map."""
    breaks = _Breaks(gate)

    def consider(frame: Frame) -> tuple[Verdict, np.ndarray | None]:
        breaks.note(frame)
        read = image_reader(frame)
        return gate.consider(frame.stamp_ns, frame.pose,
                             lambda: model.describer.describe([read()])[0])

    for frame, (verdict, descriptor) in walk.results(consider):
        if verdict is Verdict.KEYFRAME:
            assert descriptor is not None
            yield frame, descriptor, breaks.take()


class _Breaks:
    """Remembers a break of the sequence until a frame is used."""

    def __init__(self, gate: KeyframeGate) -> None:
        self._gate = gate
        self._broken = False

    def note(self, frame: Frame) -> None:
        self._broken |= self._gate.interrupted(frame.stamp_ns, frame.pose) is not None

    def take(self) -> bool:
        broken, self._broken = self._broken, False
        return broken


def _position(frame: Frame) -> list[float]:
    return [float(frame.index)] if frame.pose is None else frame.pose[:2].tolist()


def check_dataset_options(name: str, split: str, radius: float, positive_radius: float,
                          output: Path) -> None:
    """Check the arguments of a data set before its images are described.

    Raises:
        InputError: a radius is negative, not finite or in the wrong order, the name cannot name a
            file, the split is unknown, or the output exists or is read-only.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f'name {name!r} cannot name files, expected letters, digits, ".", "-" and '
                         '"_"')
    check_split_and_radii(split, radius, positive_radius)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f'{output} exists, expected a new or empty folder')
    # It is put in place of a folder beside it.
    require_writable(output.parent)


def check_split_and_radii(split: str, radius: float, positive_radius: float) -> None:
    """Check what every struct needs.

    Raises:
        InputError: a radius is negative, not finite or in the wrong order, or the split is unknown.
    """
    if split not in SPLITS:
        raise InputError(f'split {split!r} is unknown, expected {", ".join(SPLITS)}')
    if not (math.isfinite(radius) and 0 <= positive_radius <= radius):
        raise InputError(f'radius is {radius:g} and the radius of positives {positive_radius:g}, '
                         'expected 0 or more, the second at most the first')


def dataset_name(reference: Path, query: Path) -> str:
    """Return a name made from the names of two recordings."""
    parts = [re.sub(r'[^\w.-]+', '-', path.resolve().stem, flags=re.ASCII).strip('-._')
             for path in (reference, query)]
    return '_'.join(part or 'drive' for part in parts)


def make_struct(reference: Traverse, query: Traverse, name: str, split: str, radius: float,
                positive_radius: float) -> DbStruct:
    """Return the struct of two traverses; radii in the unit of their positions."""
    return DbStruct(name, split, reference.images, query.images, reference.positions,
                    query.positions, radius, positive_radius, reference.gps, query.gps,
                    reference.stamps_ns, query.stamps_ns)


def check_matches(struct: DbStruct) -> None:
    """Check that the drives of a struct share places.

    Raises:
        InputError: no query is within the radius of a reference, or positions are degrees; the
            message says so.
    """
    drives = struct.db_positions, struct.q_positions
    if drives[0].shape[1] > 1 and are_degrees(drives[0][:, :2]):
        raise InputError(f'the reference positions, such as {drives[0][0, :2].tolist()}, look like '
                         'degrees, expected meters, or columns named lat and lon')
    require_matches(matches_within(*drives, struct.radius),
                    lambda: explain_no_match(*drives, struct.radius))


def write_dataset(struct: DbStruct, reference: Traverse, query: Traverse, descriptor_name: str,
                  output: Path) -> DatasetFiles:
    """Write a data set in the folder layout of the published code.

    Args:
        struct: see `make_struct`.
        reference: reference drive.
        query: query drive.
        descriptor_name: folder of the descriptors, ``--descType`` of the published code.
        output: a folder that does not exist or is empty; it appears complete or not at all.

    Raises:
        InputError: it cannot be written.
    """
    files = _file_names(struct, descriptor_name)
    with staging_folder(output) as staging:
        for file in (files.struct, files.descriptors[0], files.bounds[0], files.names[0]):
            (staging / file).parent.mkdir(parents=True, exist_ok=True)
        _write_files(_within(files, staging), struct, (reference, query))
        staging.chmod(0o755)
        staging.replace(output)
    return _within(files, output)


def _file_names(struct: DbStruct, descriptor_name: str) -> DatasetFiles:
    structs = Path('structFiles')
    stems = [f'{struct.name}_{part}' for part in ('database', 'query')]
    radii = f'd-{struct.radius:g}_d2-{struct.positive_radius:g}'

    def pair(folder: Path, ending: str) -> tuple[Path, Path]:
        return folder / f'{stems[0]}{ending}', folder / f'{stems[1]}{ending}'

    return DatasetFiles(
        struct=structs / f'{struct.name}_{struct.split}_{radii}.db',
        descriptors=pair(Path('data') / 'descData' / descriptor_name, '.npy'),
        bounds=pair(structs / 'seqBoundsFiles', '_seqBounds.txt'),
        names=pair(structs / 'imageNamesFiles', '_imageNames.txt'))


def _within(files: DatasetFiles, folder: Path) -> DatasetFiles:
    def pair(paths: tuple[Path, Path]) -> tuple[Path, Path]:
        return folder / paths[0], folder / paths[1]

    return DatasetFiles(folder / files.struct, pair(files.descriptors), pair(files.bounds),
                        pair(files.names))


def _write_files(files: DatasetFiles, struct: DbStruct, traverses: tuple[Traverse, Traverse],
                 ) -> None:
    write_struct(struct, files.struct)
    for index, traverse in enumerate(traverses):
        write_descriptors(traverse.descriptors, files.descriptors[index])
        write_bounds(bounds_of_starts(traverse.starts, len(traverse.images)), files.bounds[index])
        write_names(traverse.images, files.names[index])
