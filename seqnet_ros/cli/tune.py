"""``seqnet_ros tune``: the settings that suit a robot, from its own recordings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.compare import show_comparison
from seqnet_ros.cli.console import INCOMPLETE, print_fields, progress_bar, say, working
from seqnet_ros.cli.recording_options import recording_options
from seqnet_ros.config.engine import setting_fields
from seqnet_ros.core.documents import parse_yaml
from seqnet_ros.core.errors import InputError, quoted

if TYPE_CHECKING:
    from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest
    from seqnet_ros.evaluation.replay.tuning_run import TuningRequest, TuningRun


def tune(
    map_source: Annotated[list[Path], typer.Option(
        help='Recording to map. Repeatable.', show_default=False)],
    query_source: Annotated[list[Path], typer.Option(
        help='Recording to localize in it. Repeatable.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for localizer.yaml, the trials and the check.', show_default=False)],
    check_map_source: Annotated[list[Path] | None, typer.Option(
        help='Recording to map for the check, from another drive. Repeatable.',
        show_default=False)] = None,
    check_query_source: Annotated[list[Path] | None, typer.Option(
        help='Recording to localize in the map of the check. Repeatable.',
        show_default=False)] = None,
    tolerance: Annotated[str, typer.Option(
        help="Largest error of a correct result: '5m', '5m,30deg' or '2frames'.")] = '5m',
    pairs: options.Pairs = None,
    check_pairs: Annotated[Path | None, typer.Option(
        help='The same for the check.', show_default='poses, or equal frame numbers')] = None,
    model: options.Model = '',
    topic: options.Topic = None,
    rate: options.Rate = None,
    pose_topic: options.PoseTopic = None,
    map_poses: options.MapPoses = None,
    query_poses: options.QueryPoses = None,
    query_truth: options.QueryTruth = None,
    check_map_poses: Annotated[list[Path] | None, typer.Option(
        help='Pose file of the map of the check.', show_default="the bag's poses")] = None,
    check_query_poses: Annotated[list[Path] | None, typer.Option(
        help='Pose file of the queries of the check.', show_default="the bag's poses")] = None,
    check_query_truth: Annotated[list[str] | None, typer.Option(
        help='True poses of the queries of the check.', show_default='their poses')] = None,
    map_range: options.MapRange = None,
    query_range: options.QueryRange = None,
    check_map_range: Annotated[str | None, typer.Option(
        help="Frames of the check's map source to use.", show_default='all')] = None,
    check_query_range: Annotated[str | None, typer.Option(
        help="Frames of the check's query source to use.", show_default='all')] = None,
    search: Annotated[list[str] | None, typer.Option(
        metavar='SETTING=VALUE,VALUE', show_default='those of the method',
        help='Values to try of a setting, such as filter.evidence=0.5,1,2, instead of the usual '
             'settings. Repeatable.')] = None,
    trials: Annotated[int, typer.Option(min=1, help='Largest number of trials.')] = 60,
    precision: Annotated[float, typer.Option(
        min=0, max=1, help='Required share of correct places among the accepted ones; beyond it, '
                           'more localized route is better.')] = 0.99,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    camera_info: options.CameraInfo = None,
) -> None:
    """Search for the settings that localize most of a drive in the map of another.

    With the place filter, spacing, evidence, leaving, background and false-positive rate are varied
    one after the other until nothing improves; with localization.method sequence in the model file,
    sequence length, spacing, candidates, speeds and false-positive rate. The best settings localize
    the largest share of the mapped route, among those that reach --precision. Frames are described
    once for all trials.

    The settings are then checked on another pair, against those of the model, and written as a
    parameter file that the node loads; it names the command that builds the map. The exit status is
    1 if the check finds them worse than those of the model and better in no measure.
    """
    if bool(check_map_source) != bool(check_query_source):
        raise InputError('found one of --check-map-source and --check-query-source, expected both '
                         'or neither')
    searched = _read_search(search)
    from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
    from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest
    from seqnet_ros.evaluation.replay.tuning_run import TuningRequest

    side = partial(recording_options, topic=topic, pose_topic=pose_topic, rate=rate)
    request = partial(
        EvaluationRequest, tolerance=Tolerance.parse(tolerance), model=model, weights=weights,
        device=device, camera=options.read_camera(camera_info))
    training = request(
        queries=side(query_source, query_poses, query_truth, query_range),
        maps=side(map_source, map_poses, None, map_range), pairs=pairs)
    check = None
    if check_map_source and check_query_source:
        check = request(
            queries=side(check_query_source, check_query_poses, check_query_truth,
                         check_query_range),
            maps=side(check_map_source, check_map_poses, None, check_map_range),
            pairs=check_pairs)
    _tune(TuningRequest(training, check, searched, trials, precision), output)


def _read_search(texts: list[str] | None) -> dict[str, tuple[Any, ...]] | None:
    if not texts:
        return None
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, values = text.partition('=')
        if not equals or name not in setting_fields():
            raise InputError(f'--search {quoted(text)} is invalid, expected a setting and values '
                             "such as 'filter.evidence=0.5,1,2'")
        parsed = [parse_yaml(value, f'--search {quoted(text)}') for value in values.split(',')]
        textual = setting_fields()[name].annotation is str
        found[name] = tuple(str(value) if textual else value for value in parsed)
    return found


def _tune(request: 'TuningRequest', output: Path) -> None:
    from seqnet_ros.evaluation.replay import tuning_run
    from seqnet_ros.evaluation.report.comparison_page import check_comparison_folder

    tuning_run.check_tuning_folder(output)
    if request.check is not None:
        check_comparison_folder(output)
    found = tuning_run.search_settings(request, output, progress_bar)
    tuning_run.write_trials(found.trials, output / tuning_run.TRIALS)
    verdict, confirmed = tuning_run.NOT_CHECKED, True
    if request.check is not None:
        verdict, confirmed = _check(found, request.check, output)
    parameters = output / tuning_run.PARAMETERS
    tuning_run.write_parameters(found, verdict, parameters)
    print_fields({'parameters': parameters, 'trials': len(found.trials),
                  'as before': tuning_run.describe_trial(found.base),
                  'tuned': tuning_run.describe_trial(found.best), 'check': verdict,
                  **{name: str(value) for name, value in found.settings.items()}})
    if not confirmed:
        say('Warning: ', 'the check does not confirm the settings: they fit the training pair '
                         'only', style='yellow')
        raise typer.Exit(INCOMPLETE)


def _check(found: 'TuningRun', check: 'EvaluationRequest', output: Path) -> tuple[str, bool]:
    """Evaluate both settings on the other pair; return the verdict and whether it is good."""
    from seqnet_ros.evaluation.replay.comparison import compare_runs
    from seqnet_ros.evaluation.replay.evaluate_recordings import evaluate_recordings
    from seqnet_ros.evaluation.replay.tuning_run import check_requests, check_verdict
    from seqnet_ros.evaluation.report.comparison_page import write_comparison
    from seqnet_ros.evaluation.report.page import write_report

    requests = check_requests(found, check)
    for name, request in requests.items():
        say('', f'checking: {name}')
        run = evaluate_recordings(request, output / name, progress_bar)
        with working('writing the report'):
            write_report(run, output / name)
    comparison = compare_runs([output / name for name in requests])
    write_comparison(comparison, output)
    show_comparison(comparison)
    return check_verdict(comparison)
