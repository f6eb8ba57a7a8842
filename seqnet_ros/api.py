"""The package from Python and notebooks, see `seqnet_ros.__all__`.

Everything here is made of the parts that commands and nodes use; it adds only the choice between
the ways to give images, models and maps.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from seqnet_ros.core.any_image import AnyImage, as_rgb, is_tensor
from seqnet_ros.core.batches import batches
from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.bag_files import is_bag
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.datasets.recordings.image_list import ImageListSource
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.datasets.recordings.video import VIDEO_SUFFIXES
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.evaluate_recordings import (
    EvaluationRequest,
    evaluate_recordings,
)
from seqnet_ros.evaluation.replay.evaluation_results import ReplayResults
from seqnet_ros.evaluation.replay.recordings import RecordingOptions
from seqnet_ros.evaluation.report.page import write_report
from seqnet_ros.maps.collection.collection_file import is_collection
from seqnet_ros.maps.manifest_file import MANIFEST
from seqnet_ros.maps.map_reader import read_manifest
from seqnet_ros.maps.map_writer import check_target, save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.stored_values import check_stored
from seqnet_ros.models import place_model
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.pipelines.map_recording import map_recording

AnyPath = str | PathLike[str]
ModelLike = AnyPath | PlaceModel

_BATCH = 16


def load_model(source: AnyPath | PlaceMap = '', device: str = 'auto',
               weights: AnyPath | None = None) -> PlaceModel:
    """Load a model, with its weights.

    Args:
        source: name of a model from ``seqnet_ros models list``, a YAML file, or a map, opened or
            its folder: then the model that it was made with. '' is the default model.
        device: 'auto', 'cuda', 'cpu', or 'openvino' on the CPU.
        weights: local weights in place of those that it names: a file for those of the frames, or
            a folder.

    Returns:
        The model; `describe`, `build_map` and `Localizer` take it.

    Raises:
        ModelError: there is no such model, or it cannot be loaded; the message says why.
    """
    local = None if weights is None else Path(weights)
    if isinstance(source, PlaceMap):
        return place_model.build_map_model(source.manifest.preset, device, local)
    if source and (path := Path(source)).is_dir() and (path / MANIFEST).is_file():
        return place_model.build_map_model(read_manifest(path)[0].preset, device, local, path)
    return place_model.load_model(Path(source) if source else '', device, local)


def describe(images: AnyImage | Iterable[AnyImage], model: ModelLike = '') -> np.ndarray:
    """Describe one image or many by vectors that are near to each other for the same place.

    Args:
        images: one image: a path, a Pillow image, an array ``[H, W]`` or ``[H, W, C]`` or a tensor
            ``[H, W]`` or ``[C, H, W]``, RGB or gray. Or many: a sequence or generator of them, an
            array ``[N, H, W, C]``, a tensor ``[N, C, H, W]``, or the path of a folder of images,
            video or bag.
        model: a model, or its name or file; loading it once with `load_model` is faster for many
            calls.

    Returns:
        float32 ``[D]`` of one image, ``[N, D]`` of many, of unit length for almost all models, not
        centered.

    Raises:
        InputError: an image cannot be used, or there is none.
        ModelError: there is no such model.
    """
    chosen = _model(model)
    if chosen.config.cameras > 1:
        raise InputError(f'model {chosen.config.name} describes {chosen.config.cameras} cameras as '
                         'one place, expected a model of one camera')
    if _is_one(images):
        return chosen.describe(as_rgb(images))
    blocks = [chosen.describer.describe(batch) for batch in batches(_pixels(images), _BATCH)]
    if not blocks:
        raise InputError('there is no image, expected at least one')
    return np.concatenate(blocks)


def build_map(images: AnyPath | Sequence[AnyImage] | np.ndarray, output: AnyPath | None = None,
              model: ModelLike = '', *, poses: AnyPath | np.ndarray | None = None,
              stamps_ns: Sequence[int] | None = None,
              settings: Mapping[str, Any] | None = None, overwrite: bool = False,
              topic: str | None = None, pose_topic: str | None = None,
              rate: float | None = None, stored: str = 'float32') -> PlaceMap:
    """Make a map of the places of a drive, as ``seqnet_ros map build`` does.

    Args:
        images: path of a folder of images, video or bag; or a sequence of images of any kind that
            `describe` takes, in the order of the drive.
        output: folder of the map; None does not write it.
        model: a model, or its name or file.
        poses: a pose file; with a sequence of images also an array ``[N, 7]`` of ``x y z qx qy qz
            qw``, or positions ``[N, 2]`` or ``[N, 3]``, meters. Without, images are one meter
            apart.
        stamps_ns: times of a sequence of images, nanoseconds; None for ten a second.
        settings: of the engine by dotted name, such as ``{'keyframes.every': '2m'}``.
        overwrite: replace an existing map; it is kept as ``NAME~1``.
        topic: image topic of a bag.
        pose_topic: pose topic of a bag.
        rate: images per second of a folder or video.
        stored: type of the descriptors on disk: 'float32', 'float16' or 'int8'.

    Returns:
        The map; `Localizer` takes it.

    Raises:
        InputError: no image can be used, or poses or settings do not fit.
        MapWriteError: there is a map already, or it cannot be written.
    """
    if output is not None:
        check_target(Path(output), overwrite=overwrite)
    if isinstance(images, (str, PathLike)):
        if isinstance(poses, np.ndarray) or stamps_ns is not None:
            raise InputError('poses or stamps were given as arrays with a recording, expected a '
                             'pose file, or a sequence of images')
        source = open_source(images, topic, poses, pose_topic, rate)
    else:
        source = _listed(images, poses, stamps_ns)
    chosen = _model(model)
    mapper = Mapper(chosen, chosen.preset.with_settings(settings or {}).engine,
                    stored=check_stored(stored))
    place_map = map_recording(source, mapper).place_map
    if output is not None:
        save_map(place_map, Path(output), overwrite=overwrite)
    return place_map


def evaluate(maps: AnyPath | Sequence[AnyPath], queries: AnyPath | Sequence[AnyPath],
             model: AnyPath = '', output: AnyPath | None = None, *, tolerance: str = '',
             pairs: AnyPath | None = None, map_poses: AnyPath | None = None,
             query_poses: AnyPath | None = None, settings: Mapping[str, Any] | None = None,
             weights: AnyPath | None = None, device: str = 'auto', topic: str | None = None,
             rate: float | None = None) -> ReplayResults:
    """Evaluate how well one drive is localized in another, as ``seqnet_ros evaluate bags`` does.

    Args:
        maps: the recordings to make the map of, or the folder of a map or of a collection.
        queries: the recordings to localize.
        model: name or file of the model; of a map it is that of the map.
        output: folder for ``report.html``, ``results.json`` and tables, where descriptors are kept
            for the next evaluation; None keeps nothing.
        tolerance: largest error of a correct result: '5m', '5m,30deg' or '2frames'. '' is '5m', and
            with ``pairs`` '0frames'.
        pairs: CSV file of frames that show the same place, with the columns query and map.
        map_poses: pose file of the map; None takes those of the bag.
        query_poses: pose file of the queries.
        settings: of the engine by dotted name.
        weights: local weights in place of the model's.
        device: as in `load_model`.
        topic: image topic of bags.
        rate: images per second of folders and videos.

    Returns:
        What ``results.json`` holds: ``verdict.headline`` in words, ``measures.recall`` by N,
        ``measures.accepted.right`` and ``.wrong``, and more.

    Raises:
        SeqnetRosError: something cannot be used; the message says what.
    """
    if isinstance(maps, (str, PathLike)) and (
            (Path(maps) / MANIFEST).is_file() or is_collection(Path(maps))):
        if model:
            raise InputError('both a map and a model were given, expected one of them: a map is '
                             'searched with the model that it was made with')
        map_path, mapped = Path(maps), None
    else:
        map_path, mapped = None, _options(maps, map_poses, topic, rate)
    request = EvaluationRequest(
        queries=_options(queries, query_poses, topic, rate), maps=mapped, map_path=map_path,
        tolerance=Tolerance.parse(tolerance or ('5m' if pairs is None else '0frames')),
        pairs=None if pairs is None else Path(pairs), model=str(model),
        weights=None if weights is None else Path(weights), device=device,
        settings=settings or {})
    if output is not None:
        run = evaluate_recordings(request, Path(output))
        write_report(run, Path(output))
        return run.results
    with TemporaryDirectory(prefix='seqnet_ros-') as folder:
        return evaluate_recordings(request, Path(folder)).results


def _model(model: ModelLike) -> PlaceModel:
    return model if isinstance(model, PlaceModel) else load_model(model)


def _is_recording(path: Path) -> bool:
    return path.is_dir() or is_bag(path) or path.suffix.lower() in VIDEO_SUFFIXES


def _is_one(images: Any) -> bool:
    """Return whether this is one image, not many."""
    if isinstance(images, (str, PathLike)):
        return not _is_recording(Path(images))
    if isinstance(images, np.ndarray) or is_tensor(images):
        return images.ndim < 4
    return isinstance(images, Image.Image)


def _pixels(images: Any) -> Iterator[np.ndarray]:
    if isinstance(images, (str, PathLike)):
        yield from (frame.read() for frame in open_source(images))
        return
    try:
        remaining = iter(images)
    except TypeError:
        as_rgb(images)  # says what was found and expected
        raise
    yield from map(as_rgb, remaining)


def _listed(images: Any, poses: Any, stamps_ns: Sequence[int] | None) -> FrameSource:
    if _is_one(images):
        raise InputError('found one image, expected a recording or a sequence of images')
    if isinstance(poses, (str, PathLike)):
        raise InputError('a pose file was given with a sequence of images, expected an array '
                         '[N, 7], [N, 3] or [N, 2]')
    # A generator can be read only once.
    return ImageListSource(images if hasattr(images, '__getitem__') else list(images), poses,
                           stamps_ns)


def _options(paths: AnyPath | Sequence[AnyPath], poses: AnyPath | None, topic: str | None,
             rate: float | None) -> RecordingOptions:
    several = [paths] if isinstance(paths, (str, PathLike)) else paths
    found = tuple(Path(path) for path in several)
    bags = any(path.exists() and is_bag(path) for path in found)
    return RecordingOptions(
        found, topic if bags else None, () if poses is None else (Path(poses),),
        rate=None if bags else rate)
