"""``seqnet_ros map refresh``: take a later drive along a map into it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.core.files import is_same_path

if TYPE_CHECKING:
    from seqnet_ros.pipelines.refresh import Refreshed


def refresh(
    path: options.MapPath,
    drive: Annotated[Path, typer.Argument(
        help='Image folder, video or rosbag of a drive along the map, with odometry.',
        show_default=False)],
    output: Annotated[Path | None, typer.Option(
        help='Folder of the refreshed map; the folder that holds it must exist.',
        show_default='in place of the map')] = None,
    backup: Annotated[bool, typer.Option(
        help='Keep the map as it was as NAME~1, or with the next free number.')] = True,
    report: Annotated[Path | None, typer.Option(
        help='New file (JSON) for what changed.', show_default=False)] = None,
    views: Annotated[int | None, typer.Option(
        min=1, max=100, help='Most views of a street.', show_default='4')] = None,
    enough: Annotated[float | None, typer.Option(
        min=0, max=20, help='How far the best known view must stand out, else the drive is added.',
        show_default='2')] = None,
    retire_after: Annotated[int | None, typer.Option(
        min=1, max=100_000, help='Drives in a row that pass a view and match another one better, '
                                 'after which it is retired.', show_default='10')] = None,
    drift: Annotated[float | None, typer.Option(
        min=1e-6, max=1, help='Error of odometry, as a share of the distance.',
        show_default='0.02')] = None,
    min_overlap: Annotated[float | None, typer.Option(
        min=1e-6, help='Distance along which the drive must be found on the map, m.',
        show_default='50')] = None,
    topic: options.Topic = None,
    poses: options.Poses = None,
    pose_topic: options.PoseTopic = None,
    rate: options.Rate = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Keep a map true: add views of streets as they look now, and retire those that never match.

    The drive is found on the map and brought into its frame. Where the map knows the street as it
    looks now, only that is noted; where it does not, the drive becomes another view of the street,
    beside those of other light or seasons. Views are retired that a number of drives passed without
    matching them best, and, where a street has more views than it may have, the one that matched
    least. One view of a street always stays, so the map neither forgets a street nor grows beyond
    a size.

    The drive adds no new streets: `map build --extend` does.
    """
    from seqnet_ros.config.alignment import AlignmentConfig
    from seqnet_ros.config.upkeep import UpkeepConfig
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.maps.map_extension import save_extension
    from seqnet_ros.maps.map_reader import open_map, read_manifest
    from seqnet_ros.maps.map_writer import check_target, save_map
    from seqnet_ros.maps.mapper import Mapper
    from seqnet_ros.maps.place_map import PlaceMap
    from seqnet_ros.models.place_model import build_map_model
    from seqnet_ros.pipelines.map_recording import collect_places
    from seqnet_ros.pipelines.refresh import refresh_map
    from seqnet_ros.pipelines.refresh_report import write_refresh_report
    from seqnet_ros.pipelines.session_report import check_report
    from seqnet_ros.sessions.pose_graph import require_gtsam

    require_gtsam()
    config = UpkeepConfig(**_given(most_views=views, enough=enough, retire_after=retire_after))
    alignment = AlignmentConfig(**_given(drift=drift, min_overlap_m=min_overlap))
    manifest, _ = read_manifest(path)
    in_place = output is None or is_same_path(output, path)
    target = path if output is None else output
    check_target(target, replaces=manifest.map_id if in_place else None)
    check_report(report)
    model = build_map_model(manifest.preset, device, weights, path)
    place_map = open_map(path, model, verify=True)
    recording = open_source(drive, topic, poses, pose_topic, rate, manifest.geo_datum)
    mapper = Mapper(model, manifest.engine, place_map, keep_images=manifest.images,
                    camera=manifest.camera_model)
    walk = collect_places(recording, mapper, progress_bar)
    done: list[Refreshed] = []

    def finish() -> PlaceMap:
        assert mapper.extends is not None
        done.append(refresh_map(mapper.extends, mapper, recording.name, recording.pose_origin,
                                config, alignment, progress_bar))
        return done[-1].place_map

    refreshed = finish()
    if in_place:
        refreshed, kept = save_extension(mapper, refreshed, finish, path, backup=backup)
    else:
        kept = save_map(refreshed, target, backup=backup)
    if report is not None:
        write_refresh_report(report, done[-1], recording.name)
    print_fields({'map': target, **({} if kept is None else {'previous map': kept}),
                  **({'damaged images': len(walk.damaged)} if walk.damaged else {}),
                  'id': refreshed.manifest.map_id, 'aligned': done[-1].alignment,
                  'on the map': f'{done[-1].certain_m:.0f} of {done[-1].alignment.route_m:.0f} m',
                  'changed': done[-1]})


def _given(**settings: float | None) -> dict[str, float]:
    return {name: value for name, value in settings.items() if value is not None}
