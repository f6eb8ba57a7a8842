"""``seqnet_ros localize``: find the images of a recording in a map."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import map_options, options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.settings import collect_settings
from seqnet_ros.core.errors import InputError


def localize(
    source: options.Source,
    map_path: map_options.Searched,
    output: Annotated[Path, typer.Option(
        help='Folder for matches.csv, matches.jsonl and summary.json.', show_default=False)],
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    sequence_length: options.SequenceLength = None,
    every: options.Every = None,
    top_k: options.TopK = None,
    reverse: options.Reverse = None,
    false_positive_rate: options.FalsePositiveRate = None,
    model: Annotated[str, typer.Option(
        help='Model: a name or a YAML file; it must be the one that the map was made with.',
        show_default='that of the map')] = '',
    weights: options.Weights = None,
    device: options.Device = 'auto',
    camera_info: options.CameraInfo = None,
    assignments: options.Assignments = None,
    area: Annotated[str, typer.Option(
        help='With a collection: the floor or site, or the tile, that the drive is in.',
        show_default='any')] = '',
    store: map_options.Store = '',
    region: map_options.Region = '',
    session: map_options.Session = '',
    cache: map_options.Cache = '',
) -> None:
    """Find the images of a recording in a map, as the live node would.

    The model and its settings are those of the map. Its weights are found where the map says,
    beside the map, in the cache, or by --weights or --model. Poses of the recording only space its
    images. The same input gives the same results, written to matches.csv, matches.jsonl and
    summary.json.

    Of a map on a server, tiles are copied when they are needed; see docs/scale.md.
    """
    changes = collect_settings(assignments, {
        'sequence.length': sequence_length, 'keyframes.every': every, 'matching.top_k': top_k,
        'matching.reverse': reverse, 'acceptance.false_positive_rate': false_positive_rate})
    from seqnet_ros.pipelines.match_files import check_folder

    check_folder(output)
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.pipelines.localize_recording import localize_recording
    from seqnet_ros.pipelines.searched_map import SearchedMap

    place, fleet, collection = map_options.searched_place(map_path, changes, {
        'store': store, 'region': region, 'session': session, 'cache': cache})
    if place is None:
        raise InputError('--map is empty, expected a folder or an address')
    with SearchedMap(place, collection, fleet) as opened:
        engine = opened.manifest.preset.with_settings(changes).engine
        camera = options.read_camera(camera_info)
        recording = open_source(source, topic, poses, pose_topic, rate)
        localizer = opened.open_localizer(
            opened.load_model(model, device, weights), engine, camera, area)
        summary = localize_recording(recording, localizer, output, progress_bar)
    print_fields({'results': output, **summary.lines()})
