"""``seqnet_ros map coverage``: where on a map a robot can be localized."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, print_table, progress_bar
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.evaluation.coverage.coverage import Coverage

_WORST = 5


def coverage(
    path: Annotated[Path, typer.Argument(
        help='Folder of the map, or of a collection.', show_default=False)],
    against: Annotated[Path | None, typer.Option(
        help='A later drive along the map, with odometry: what it finds, which tells more.',
        show_default='the map is searched in itself')] = None,
    output: Annotated[Path | None, typer.Option(
        help='Folder for coverage.svg, coverage.csv, coverage.json and, where the map has poses, '
             'coverage.geojson; of a collection a folder for each tile in it.',
        show_default=False)] = None,
    within: Annotated[float, typer.Option(
        min=1, max=1e5,
        help='Distance after which a robot should be found, m; frames without poses.')] = 20.0,
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Say where a robot that is switched on is found, and where not, before anyone drives.

    Every place is one of three kinds. Covered: the robot is found after a short way. Ambiguous:
    another place looks the same, and is named. Blind: no place stands out, as at bare walls or in
    the dark. The map is searched in itself, each image as if it were not on the map; --against
    takes a later drive instead, which is aligned with the map first. Each tile of a collection is
    searched in itself: places of other tiles that look the same are not found.

    Positions in coverage.geojson are longitude and latitude where the map knows where on the earth
    it is, else meters in the frame of the map, which the file says.
    """
    from seqnet_ros.evaluation.coverage.self_search import search_itself
    from seqnet_ros.evaluation.report.coverage_files import check_coverage_folder, write_coverage
    from seqnet_ros.maps.collection.collection_file import is_collection
    from seqnet_ros.maps.map_reader import open_map

    if is_collection(path):
        if against is not None:
            raise InputError(f'{path} is a collection, expected one map with --against')
        _cover_tiles(path, within, output)
        return
    if output is not None:
        check_coverage_folder(output)
    if against is None:
        found = search_itself(open_map(path), within, bars=progress_bar)
    else:
        found = _of_drive(path, against, within, topic=topic, poses=poses, pose_topic=pose_topic,
                          rate=rate, weights=weights, device=device)
    written = {} if output is None else _written(found, write_coverage(found, output))
    print_fields({'map': path, **_fields(found), **written})
    _print_worst(found)


def _cover_tiles(path: Path, within: float, output: Path | None) -> None:
    """Search each tile of a collection in itself, one after the other."""
    from seqnet_ros.evaluation.coverage.coverage import Kind
    from seqnet_ros.evaluation.coverage.self_search import search_itself
    from seqnet_ros.evaluation.report.coverage_files import check_coverage_folder, write_coverage
    from seqnet_ros.maps.collection.map_collection import MapCollection

    collection = MapCollection(path)
    names = [tile.name for tile in collection.tiles]
    if output is not None:
        for name in names:
            check_coverage_folder(output / name)
    rows: list[tuple[str, ...]] = []
    try:
        for number, name in enumerate(names):
            found = search_itself(collection.open(number), within, bars=progress_bar)
            if output is not None:
                write_coverage(found, output / name)
            rows.append((name, *(f'{found.share(kind):.1%}, {found.length(kind):.0f} {found.unit}'
                                 for kind in Kind)))
    finally:
        collection.close()
    print_fields({'collection': path, 'searched': 'each tile in itself',
                  **({} if output is None else {'results': output})})
    print_table(('tile', *(kind.value for kind in Kind)), rows)


def _written(found: 'Coverage', files: list[Path]) -> dict[str, object]:
    from seqnet_ros.evaluation.report.coverage_files import GEOJSON, NOTE

    manifest = found.place_map.manifest
    note = {GEOJSON: NOTE} if manifest.has_poses and manifest.geo_datum is None else {}
    return {'results': ', '.join(str(file) for file in files), **note}


def _of_drive(path: Path, against: Path, within: float, *, topic: str | None, poses: Path | None,
              pose_topic: str | None, rate: float | None, weights: Path | None,
              device: str) -> 'Coverage':
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.evaluation.coverage.later_drive import places_shown, search_drive
    from seqnet_ros.maps.map_reader import open_map, read_manifest
    from seqnet_ros.maps.mapper import Mapper
    from seqnet_ros.models.place_model import build_map_model
    from seqnet_ros.pipelines.map_recording import collect_places
    from seqnet_ros.sessions.alignment import align
    from seqnet_ros.sessions.pose_graph import require_gtsam

    require_gtsam()
    manifest, _ = read_manifest(path)
    model = build_map_model(manifest.preset, device, weights, path)
    place_map = open_map(path, model)
    recording = open_source(against, topic, poses, pose_topic, rate, manifest.geo_datum)
    drive = Mapper(model, manifest.engine, place_map)
    collect_places(recording, drive, progress_bar)
    with progress_bar('aligning', len(drive)) as show:
        aligned = align(place_map, drive, progress=show)
    return search_drive(place_map, drive, places_shown(place_map, aligned.poses), recording.name,
                        within, bars=progress_bar)


def _fields(found: 'Coverage') -> dict[str, object]:
    from seqnet_ros.evaluation.coverage.coverage import MEANINGS, Kind

    unit = found.unit
    ways = [spot.after for spot in found.spots if spot.after is not None]
    fields: dict[str, object] = {'searched': found.asked}
    for kind in Kind:
        fields[kind.value] = (f'{found.share(kind):.1%}, {found.length(kind):.0f} {unit}: '
                              f'{MEANINGS[kind]}')
    if ways:
        middle = sorted(ways)[len(ways) // 2]
        fields['found after'] = f'{middle:.0f} {unit} where covered, the median'
    return {**fields, 'doubt': found.doubt} if found.doubt else fields


def _print_worst(found: 'Coverage') -> None:
    rows: list[tuple[str, ...]] = []
    for way in found.worst(_WORST):
        rivals = [spot.rival for spot in way if spot.rival is not None]
        length = sum(spot.length for spot in way)
        rows.append((way[0].kind.value, f'{way[0].place} to {way[-1].places[-1]}',
                     f'{length:.0f} {found.unit}',
                     f'{max(rivals, key=rivals.count)}' if rivals else ''))
    if rows:
        print_table(('worst stretches', 'places', 'length', 'look like place'), rows)
