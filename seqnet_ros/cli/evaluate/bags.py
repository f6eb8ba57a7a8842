"""``seqnet_ros evaluate bags``: two recordings in, a verdict out."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from seqnet_ros.cli import map_options, options
from seqnet_ros.cli.console import INCOMPLETE, print_fields, progress_bar, results, working
from seqnet_ros.cli.recording_options import recording_options
from seqnet_ros.cli.settings import collect_settings
from seqnet_ros.core.errors import InputError, quoted

if TYPE_CHECKING:
    from seqnet_ros.evaluation.metrics.localization_metrics import Spread
    from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRun

_USUAL_TOLERANCE = '5m'
_USUAL_PAIR_TOLERANCE = '0frames'


def evaluate_bags(
    query_source: Annotated[list[Path], typer.Option(
        help='Query recording: bag, image folder or video. Repeatable.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for the report and the results; descriptors in it are reused.',
        show_default=False)],
    map_source: Annotated[list[Path] | None, typer.Option(
        help='Recording to build the map from; with --map, the recording it was built from. '
             'Repeatable.',
        show_default=False)] = None,
    map_path: map_options.SearchedInstead = '',
    tolerance: Annotated[str | None, typer.Option(
        help="Largest error of a correct result: '5m', '5m,30deg' or '2frames'.",
        show_default=_USUAL_TOLERANCE)] = None,
    pairs: options.Pairs = None,
    pair_by: options.PairBy = 'auto',
    model: options.Model = '',
    topic: options.Topic = None,
    rate: options.Rate = None,
    pose_topic: options.PoseTopic = None,
    map_poses: options.MapPoses = None,
    query_poses: options.QueryPoses = None,
    map_truth: options.MapTruth = None,
    query_truth: options.QueryTruth = None,
    map_range: options.MapRange = None,
    query_range: options.QueryRange = None,
    clock_offset: Annotated[str | None, typer.Option(
        help="Seconds to add to the times of query images before their true pose is looked up, or "
             "'auto' for the estimated offset.", show_default='only estimated')] = None,
    sequence_length: options.SequenceLength = None,
    every: options.Every = None,
    top_k: options.TopK = None,
    reverse: options.Reverse = None,
    false_positive_rate: options.FalsePositiveRate = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    camera_info: options.CameraInfo = None,
    assignments: options.Assignments = None,
    store: map_options.Store = '',
    region: map_options.Region = '',
    session: map_options.Session = '',
    cache: map_options.Cache = '',
) -> None:
    """Evaluate how well one drive is localized in another, by the engine that the node runs.

    The map is built from --map-source, or read from --map; with both, the report shows pictures of
    the map's places. The tiles of a collection, or of a map on a server, are evaluated together if
    they share coordinates or --map-truth gives the true poses of all. Writes report.html, which
    needs no other file, results.json and tables. Repeating the command gives the same files; an
    interrupted run continues where it stopped. The exit status is 1 if a recording breaks off,
    where the part before is evaluated, and if the ground truth makes no result right or every
    result right; a note says why.

    Example: `seqnet_ros evaluate bags --map-source day/ --query-source dusk/ --tolerance 5m,30deg
    --output run/`
    """
    changes = collect_settings(assignments, {
        'sequence.length': sequence_length, 'keyframes.every': every, 'matching.top_k': top_k,
        'matching.reverse': reverse, 'acceptance.false_positive_rate': false_positive_rate})
    if not map_source and not map_path:
        raise InputError('neither --map-source nor --map was given, expected one of them')
    from seqnet_ros.core.camera import read_camera_info
    from seqnet_ros.datasets.frame_pairing import check_pair_by
    from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
    from seqnet_ros.evaluation.replay.evaluate_recordings import (
        EvaluationRequest,
        evaluate_recordings,
    )
    from seqnet_ros.evaluation.report.page import write_report

    if pairs is not None and pair_by != 'auto':
        raise InputError(f'both --pairs and --pair-by {pair_by} were given, expected one of them')
    usual = _USUAL_TOLERANCE if pairs is None else _USUAL_PAIR_TOLERANCE
    offset = _read_offset(clock_offset)

    place, fleet, collection = map_options.searched_place(map_path, changes, {
        'store': store, 'region': region, 'session': session, 'cache': cache})
    side = partial(recording_options, topic=topic, pose_topic=pose_topic, rate=rate)
    request = EvaluationRequest(
        queries=side(query_source, query_poses, query_truth, query_range),
        maps=side(map_source, map_poses, map_truth, map_range)
        if map_source else None,
        map_path=place, fleet=fleet, collection=collection,
        tolerance=Tolerance.parse(tolerance or usual), pairs=pairs,
        pair_by=check_pair_by(pair_by), model=model, weights=weights, device=device,
        clock_offset=offset, settings=changes,
        camera=None if camera_info is None else read_camera_info(camera_info))
    run = evaluate_recordings(request, output, progress_bar)
    with working('writing the report'):
        report = write_report(run, output)
    _show(run, report)
    if not (run.complete and run.measured):
        raise typer.Exit(INCOMPLETE)


def _read_offset(text: str | None) -> float | str | None:
    if text is None or text == 'auto':
        return text
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"--clock-offset is {quoted(text)}, expected seconds or 'auto'") from None


def _spread(errors: 'Spread', unit: str) -> str:
    from seqnet_ros.evaluation.replay.verdict import length

    return (f'median {length(errors.median, unit)}, 90 % within {length(errors.p90, unit)}, '
            f'maximum {length(errors.worst, unit)}')


def _show(run: 'EvaluationRun', report: Path) -> None:
    from seqnet_ros.evaluation.replay.verdict import length, percent

    metrics, verdict, timing = run.results.measures, run.results.verdict, run.timing
    results.print(Text(f'{verdict.label}: {verdict.headline}', 'bold'), soft_wrap=True)
    accepted, route, unit = metrics.accepted, metrics.route, metrics.unit
    recalls = ', '.join(f'R@{n}: {percent(value)}' for n, value in metrics.recall.items())
    matched = timing.match_milliseconds
    p50, p99 = ('-', '-') if matched is None else (matched.p50, matched.p99)
    print_fields({
        'report': report,
        'recall': f'{recalls} of {metrics.queries.in_map} searches',
        'accepted': f'{accepted.results}, {accepted.right} correct, {accepted.wrong} wrong',
        'error of the place': _spread(accepted.error, unit),
        **({} if accepted.pose_error is None else {
            'error of the pose': _spread(accepted.pose_error, unit)}),
        'localized': f'{percent(route.localized)} of {length(route.in_map, unit)}, longest '
                     f'distance without {length(route.longest_without, unit)}',
        'time': f'{timing.seconds} s in all for {timing.recorded_seconds} s of recording, '
                f'p50 {p50} ms and p99 {p99} ms per match'})
