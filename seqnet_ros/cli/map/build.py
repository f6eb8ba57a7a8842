"""``seqnet_ros map build``: make a map of one recording or several."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.info import manifest_fields
from seqnet_ros.cli.settings import collect_settings
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import is_same_path
from seqnet_ros.models.default_model import DEFAULT_TEXT

if TYPE_CHECKING:
    from seqnet_ros.config.alignment import AlignmentConfig
    from seqnet_ros.core.camera import CameraModel
    from seqnet_ros.core.geodesy import GeoPoint
    from seqnet_ros.datasets.recordings.frames import FrameSource
    from seqnet_ros.maps.place_map import PlaceMap
    from seqnet_ros.maps.stored_values import Stored
    from seqnet_ros.models.place_model import PlaceModel
    from seqnet_ros.pipelines.map_sessions import MappedSessions


def build(
    output: Annotated[Path, typer.Option(
        help='Folder of the map; the folder that holds it must exist.', show_default=False)],
    sources: Annotated[list[Path] | None, typer.Argument(
        help='Image folder, video or rosbag (mcap, sqlite3 or ROS 1), or several; not needed with '
             '--descriptors.', show_default=False)] = None,
    model: Annotated[str, typer.Option(
        help='Name of a model, or its YAML file.',
        show_default=f'{DEFAULT_TEXT}; the model of --extend')] = '',
    extend: Annotated[Path | None, typer.Option(
        help='Map to add the drive to; it stays unchanged unless it is also --output.',
        show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace the map at --output.')] = False,
    backup: Annotated[bool, typer.Option(
        help='Keep a map that is replaced or extended as NAME~1.')] = True,
    align: Annotated[bool | None, typer.Option(
        '--align/--no-align',
        help='Bring recordings into the frame of the map by what they show, or take their poses as '
             'they are.', show_default='align several recordings, not a single one')] = None,
    skip_unaligned: Annotated[bool, typer.Option(
        '--skip-unaligned',
        help='Leave out recordings that cannot be aligned; otherwise no map is made.')] = False,
    drift: Annotated[float | None, typer.Option(
        min=1e-6, max=1, help='Error of odometry, as a share of the distance, for --align.',
        show_default='0.02')] = None,
    min_overlap: Annotated[float | None, typer.Option(
        min=1e-6, help='Distance along which a recording must be found on the map, m, for '
                       '--align.', show_default='50')] = None,
    report: Annotated[Path | None, typer.Option(
        help='New file (JSON) for how each recording was aligned, with a picture (SVG) beside it.',
        show_default=False)] = None,
    shard: Annotated[str | None, typer.Option(
        help="Describe one shard of the recording only, such as '3/8', and write a part of the map "
             'to --output (.npz): `map merge` makes the map of all parts.',
        show_default=False)] = None,
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    every: options.Every = None,
    sequence_length: options.SequenceLength = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    geometry: Annotated[bool, typer.Option(
        '--geometry', help='Store local features for the geometric check of matches.')] = False,
    camera_info: options.CameraInfo = None,
    keep_images: Annotated[bool, typer.Option(
        '--keep-images',
        help='Keep a small picture of every place (JPEG, 320 pixels wide).')] = False,
    stored: Annotated[str | None, typer.Option(
        help="Type of the descriptors on disk: 'float32', 'float16' or 'int8', a quarter of the "
             'size.', show_default='float32; that of --extend')] = None,
    descriptors: Annotated[Path | None, typer.Option(
        help='Frame descriptors that were computed elsewhere, .npy, shape N by D: one row for each '
             'image of the source, or each pose, or each time.', show_default=False)] = None,
    stamps: Annotated[Path | None, typer.Option(
        help='Times of the descriptors, without a source: text with seconds or integer nanoseconds '
             'on each line, or .npy with nanoseconds.',
        show_default='those of the poses, else 10 a second')] = None,
    assignments: options.Assignments = None,
) -> None:
    """Make a map of the places of recorded drives, or add drives to a map.

    Poses come from a file, or from the odometry, pose or GPS topics of a bag. Without poses the
    places are put one meter apart on a line: frame numbers count as meters. Places are spaced 1 m
    apart if there are poses; otherwise every image is a place. The settings are stored in the map
    and are the defaults for localizing.

    A map that exists at --output is replaced only with --overwrite or --extend, when the new one is
    complete, and is kept as NAME~1 or with the next free number. A folder that holds anything else
    is an error. --extend adds the drive as another session; its poses must be in the frame of the
    map.

    Of several recordings, or with --align, each may have odometry in a frame of its own. The first
    one, or the map to extend, defines the frame; the others are found on the map and brought into
    it. One that shows too little of the map is an error.

    With --shard, several processes or machines make one map of a recording: each describes the
    images of its shard. The map is that of one process, to the byte. With --extend, the recording
    is added to that map when the parts are merged, its poses as they are.
    """
    settings = collect_settings(
        assignments, {'keyframes.every': every, 'sequence.length': sequence_length})
    from seqnet_ros.maps.map_writer import check_target, save_map
    from seqnet_ros.maps.stored_values import check_stored

    kept_as = None if stored is None else check_stored(stored)

    in_place = extend is not None and is_same_path(output, extend)
    if shard is None:
        check_target(output, overwrite=overwrite or in_place)
    from seqnet_ros.config.engine import GeometryConfig
    from seqnet_ros.evaluation.report.session_map import picture_beside, write_picture
    from seqnet_ros.maps.map_extension import save_extension
    from seqnet_ros.maps.map_reader import open_map, read_manifest
    from seqnet_ros.maps.mapper import Mapper
    from seqnet_ros.models.place_model import build_map_model, build_model, load_preset
    from seqnet_ros.models.precomputed_model import precomputed_preset, with_precomputed
    from seqnet_ros.pipelines.map_recording import datum_of_source
    from seqnet_ros.pipelines.map_sessions import map_sessions
    from seqnet_ros.pipelines.session_report import check_report, write_report
    from seqnet_ros.sessions.pose_graph import require_gtsam

    sources = sources or []
    if shard is not None:
        _check_shard(shard, output, overwrite, sources, {
            '--align': align is not None, '--report': report is not None,
            '--descriptors': descriptors is not None})
    aligning = _aligning(sources, extend, align, drift, min_overlap)
    if aligning is not None:
        require_gtsam()
    picture = None if report is None else picture_beside(report)
    check_report(report)
    check_report(picture)
    if len(sources) > 1 and (poses is not None or descriptors is not None):
        given = '--poses' if poses is not None else '--descriptors'
        raise InputError(f'{given} was given with {len(sources)} recordings, expected one')
    source = sources[0] if sources else None
    _check_descriptors(source, descriptors, stamps, {
        '--geometry': geometry, '--keep-images': keep_images,
        '--camera-info': camera_info is not None,
        '--topic': source is None and topic is not None,
        '--pose-topic': source is None and pose_topic is not None})
    if not model and extend is not None:
        preset, model_folder = read_manifest(extend)[0].preset, None
    elif not model and descriptors is not None:
        preset, model_folder = precomputed_preset(descriptors), None
    else:
        preset, model_folder = load_preset(model, weights)
    if geometry and preset.engine.geometry is None:
        preset = replace(
            preset, engine=preset.engine.model_copy(update={'geometry': GeometryConfig()}))
    preset = preset.with_settings(settings)
    built = (build_map_model(preset, device, weights, extend) if model_folder is None
             else build_model(preset, device, model_folder, weights))
    camera = options.read_camera(camera_info)
    extended = None
    if extend is not None:
        extended = open_map(extend, built, verify=True)
        camera = camera or extended.manifest.camera_model
        keep_images = keep_images or extended.manifest.images
        kept_as = kept_as or extended.manifest.stored
    if shard is not None:
        _write_part(shard, output, sources[0], built, keep_images, camera, kept_as or 'float32',
                    extended, topic=topic, poses=poses, pose_topic=pose_topic, rate=rate)
        return
    if descriptors is not None:
        built = with_precomputed(built)
        if keep_images or camera is not None:
            raise InputError(f'{extend} keeps pictures or the calibration of a camera, expected a '
                             'map without to add descriptors to')
    # GPS positions of all recordings have one origin.
    datum = None if extended is None else extended.manifest.geo_datum
    recordings: list[FrameSource] = []
    opened: list[Path | None] = [*sources] or [None]
    for one in opened:
        recordings.append(
            _open(one, descriptors, stamps, topic, poses, pose_topic, rate, datum))
        datum = datum or datum_of_source(recordings[-1])
    mapped = map_sessions(
        recordings,
        lambda: Mapper(built, extends=extended, keep_images=keep_images, camera=camera,
                       stored=kept_as),
        extended, aligning, progress_bar)
    if mapped.left_out and not (skip_unaligned and mapped.sessions):
        session, error = mapped.left_out[0]
        raise InputError(f'{session.recording.name} cannot be aligned: {error}')
    place_map = mapped.place_map
    if in_place and len(mapped.sessions) == 1:
        session, alignment = mapped.sessions[0], mapped.alignments[0]
        place_map, kept = save_extension(
            session.mapper, place_map, lambda: session.finish(alignment), output, backup=backup)
    else:
        replaced = extended.manifest.map_id if in_place and extended is not None else None
        kept = save_map(place_map, output, overwrite=overwrite, replaces=replaced, backup=backup)
    if report is not None and picture is not None:
        write_report(report, mapped)
        write_picture(picture, mapped)
    damaged = sum(len(session.damaged) for session in mapped.sessions)
    print_fields({'map': output, **({} if kept is None else {'previous map': kept}),
                  **({'damaged images': damaged} if damaged else {}),
                  **manifest_fields(place_map.manifest), **_aligned_fields(mapped)})


def _check_shard(shard: str, output: Path, overwrite: bool, sources: list[Path],
                 contradicting: dict[str, bool]) -> None:
    """Check, before long work, that a part of a map can be made and written."""
    from seqnet_ros.core.files import prepare_outputs
    from seqnet_ros.maps.map_part import SUFFIX, is_part
    from seqnet_ros.pipelines.shards import Shard

    Shard.parse(shard)
    if len(sources) != 1:
        raise InputError(f'--shard was given with {len(sources)} recordings, expected one')
    for option, given in contradicting.items():
        if given:
            raise InputError(f'both --shard and {option} were given, expected one of them: parts '
                             'are of one recording, whose images are still to be described')
    if output.suffix != SUFFIX:
        raise InputError(f'output is {output}, expected a file ending in {SUFFIX} for a part of a '
                         'map')
    prepare_outputs([output], lambda path: overwrite and is_part(path))


def _write_part(shard: str, output: Path, source: Path, model: 'PlaceModel', keep_images: bool,
                camera: 'CameraModel | None', stored: 'Stored', extends: 'PlaceMap | None', *,
                topic: str | None, poses: Path | None, pose_topic: str | None,
                rate: float | None) -> None:
    """Describe a shard of a recording, and write a part of the map."""
    from seqnet_ros.maps.map_part import RecordingPath, write_part
    from seqnet_ros.pipelines.shards import Shard, observe_shard

    opened = RecordingPath(
        path=str(source), folder=str(Path.cwd()), topic=topic,
        poses=None if poses is None else str(poses), pose_topic=pose_topic, rate=rate)
    part = observe_shard(opened, Shard.parse(shard), model, keep_images=keep_images, camera=camera,
                         stored=stored, extends=extends, bars=progress_bar)
    write_part(part, output)
    damaged = len(part.manifest.damaged)
    print_fields({'part': output, 'shard': shard, 'frames': len(part.stamps_ns),
                  'described images': part.manifest.observed,
                  **({'damaged images': damaged} if damaged else {}),
                  'model': f'{model.config.name} ({model.fingerprint[:8]})'})


def _aligning(sources: list[Path], extend: Path | None, align: bool | None, drift: float | None,
              min_overlap: float | None) -> 'AlignmentConfig | None':
    """Return how to align the recordings; None where their poses are taken as they are."""
    from seqnet_ros.config.alignment import AlignmentConfig

    if align and extend is None and len(sources) < 2:
        raise InputError('--align was given with one recording and no map to extend, expected '
                         'something to align it with')
    settings = {'drift': drift, 'min_overlap_m': min_overlap}
    given = {name: value for name, value in settings.items() if value is not None}
    if not (len(sources) > 1 if align is None else align):
        if given:
            raise InputError('--drift and --min-overlap need recordings that are aligned, expected '
                             '--align or several recordings')
        return None
    return AlignmentConfig(**given)


def _aligned_fields(mapped: 'MappedSessions') -> dict[str, str]:
    """Return what to print of recordings that were aligned, and of those that were not."""
    aligned = {f'aligned {session.recording.name}': str(alignment) for session, alignment in zip(
        mapped.sessions, mapped.alignments, strict=True) if alignment is not None}
    left_out = {f'left out {session.recording.name}': str(error)
                for session, error in mapped.left_out}
    return {**aligned, **left_out}


def _check_descriptors(source: Path | None, descriptors: Path | None, stamps: Path | None,
                       of_images: dict[str, bool]) -> None:
    """Check that options about images and about descriptors do not contradict each other."""
    if descriptors is None:
        if source is None:
            raise InputError('neither a recording nor --descriptors was given, expected one')
        if stamps is not None:
            raise InputError('--stamps was given without --descriptors, expected both')
        return
    if source is not None and stamps is not None:
        raise InputError('both a recording and --stamps were given, expected one of them')
    for option, given in of_images.items():
        if given:
            raise InputError(f'{option} needs images, but --descriptors was given')


def _open(source: Path | None, descriptors: Path | None, stamps: Path | None, topic: str | None,
          poses: Path | None, pose_topic: str | None, rate: float | None,
          datum: 'GeoPoint | None') -> 'FrameSource':
    """Open the recording to map: its images, or the descriptors that were computed of them."""
    from seqnet_ros.datasets.recordings.descriptor_array import open_descriptors
    from seqnet_ros.datasets.recordings.open_recording import open_source

    recording = None
    if source is not None:
        recording = open_source(source, topic, poses, pose_topic, rate, datum)
    if descriptors is not None:
        return open_descriptors(descriptors, recording, None if source else poses, stamps, rate)
    assert recording is not None
    return recording
