"""``seqnet_ros tune``: the settings that suit a robot, from its own recordings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from seqnet_ros.cli import options
from seqnet_ros.cli.compare import show_comparison
from seqnet_ros.cli.console import INCOMPLETE, print_fields, progress_bar, say, working
from seqnet_ros.cli.recording_options import recording_options
from seqnet_ros.config.engine import setting_fields
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import whole_file

if TYPE_CHECKING:
    from seqnet_ros.config.preset import Preset
    from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest
    from seqnet_ros.evaluation.replay.tuning import Trial

PARAMETERS, TRIALS = 'localizer.yaml', 'trials.csv'
_DEFAULT, _TUNED = 'check-as-before', 'check-tuned'


def tune(
    map_source: Annotated[list[Path], typer.Option(
        help='Recording to map. Repeatable.', show_default=False)],
    query_source: Annotated[list[Path], typer.Option(
        help='Recording to find in it. Repeatable.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for localizer.yaml, the trials and the check.', show_default=False)],
    check_map_source: Annotated[list[Path] | None, typer.Option(
        help='Recording to map for the check, of another drive. Repeatable.',
        show_default=False)] = None,
    check_query_source: Annotated[list[Path] | None, typer.Option(
        help='Recording to find in that. Repeatable.', show_default=False)] = None,
    tolerance: Annotated[str, typer.Option(
        help="How near to the truth is right: '5m', '5m,30deg' or '2frames'.")] = '5m',
    pairs: Annotated[Path | None, typer.Option(
        help='CSV file of frames that show the same place.',
        show_default='poses, or equal frame numbers')] = None,
    check_pairs: Annotated[Path | None, typer.Option(
        help='The same for the check.', show_default='poses, or equal frame numbers')] = None,
    model: options.Model = 'hog',
    topic: options.Topic = None,
    rate: options.Rate = None,
    pose_topic: options.PoseTopic = None,
    map_poses: Annotated[list[Path] | None, typer.Option(
        help='Pose file of the map.', show_default="the bag's poses")] = None,
    query_poses: Annotated[list[Path] | None, typer.Option(
        help='Pose file of the queries.', show_default="the bag's poses")] = None,
    query_truth: Annotated[list[str] | None, typer.Option(
        help='Pose file or pose topic with the true poses of the queries.',
        show_default='their poses')] = None,
    check_map_poses: Annotated[list[Path] | None, typer.Option(
        help='Pose file of the map of the check.', show_default="the bag's poses")] = None,
    check_query_poses: Annotated[list[Path] | None, typer.Option(
        help='Pose file of the queries of the check.', show_default="the bag's poses")] = None,
    check_query_truth: Annotated[list[str] | None, typer.Option(
        help='True poses of the queries of the check.', show_default='their poses')] = None,
    map_range: Annotated[str | None, typer.Option(
        help='Frames of the map that count.', show_default='all')] = None,
    query_range: Annotated[str | None, typer.Option(
        help='Frames of the queries that count.', show_default='all')] = None,
    check_map_range: Annotated[str | None, typer.Option(
        help="Frames of the check's map that count.", show_default='all')] = None,
    check_query_range: Annotated[str | None, typer.Option(
        help="Frames of the check's queries that count.", show_default='all')] = None,
    search: Annotated[list[str] | None, typer.Option(
        metavar='SETTING=VALUE,VALUE', show_default='length, spacing, K, speeds, threshold',
        help='Values to try of a setting, in place of the usual settings. Repeatable.')] = None,
    trials: Annotated[int, typer.Option(min=1, help='Trials at most.')] = 60,
    precision: Annotated[float, typer.Option(
        min=0, max=1, help='Share of accepted places that must be right; beyond it, more '
                           'localized route is better.')] = 0.99,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    camera_info: options.CameraInfo = None,
) -> None:
    """Search for the settings that localize most of a drive in the map of another.

    Sequence length, spacing, candidates, speeds and threshold are varied one after the other until
    nothing improves. The best settings localize the largest share of the mapped route, among those
    that reach --precision. Frames are described once for all trials.

    The settings are then checked on another pair, against those of the model, and written as a
    parameter file that the node loads; it names the command that builds the map. The exit status is
    1 if the check finds them worse than those of the model and better in nothing.
    """
    if bool(check_map_source) != bool(check_query_source):
        raise InputError('found one of --check-map-source and --check-query-source, expected both '
                         'or neither')
    wanted = _read_search(search)
    from seqnet_ros.core.camera import read_camera_info
    from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
    from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest

    side = partial(recording_options, topic=topic, pose_topic=pose_topic, rate=rate)
    near = Tolerance.parse(tolerance)
    camera = None if camera_info is None else read_camera_info(camera_info)
    trained = EvaluationRequest(
        side(query_source, query_poses, query_truth, query_range), near,
        side(map_source, map_poses, None, map_range), pairs=pairs, model=model, weights=weights,
        device=device, camera=camera)
    best, base, tried = _search(trained, output, wanted, trials, precision)
    checked = None
    if check_map_source and check_query_source:
        checked = EvaluationRequest(
            side(check_query_source, check_query_poses, check_query_truth, check_query_range),
            near, side(check_map_source, check_map_poses, None, check_map_range),
            pairs=check_pairs, model=model, weights=weights, device=device, camera=camera)
    _conclude(best, base, tried, checked, output)


def _read_search(texts: list[str] | None) -> dict[str, tuple[Any, ...]] | None:
    if not texts:
        return None
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, values = text.partition('=')
        if not equals or name not in setting_fields():
            raise InputError(f'--search {text!r} is not understood, expected a setting and values '
                             "such as 'matching.top_k=10,20'")
        parsed = [yaml.safe_load(value) for value in values.split(',')]
        textual = setting_fields()[name].annotation is str
        found[name] = tuple(str(value) if textual else value for value in parsed)
    return found


def _search(request: 'EvaluationRequest', output: Path, wanted: dict[str, tuple[Any, ...]] | None,
            most: int,
            precision: float) -> 'tuple[Trial, Trial, list[Trial]]':
    from seqnet_ros.evaluation.replay import tuning
    from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
    from seqnet_ros.evaluation.replay.recordings import Recordings
    from seqnet_ros.evaluation.replay.run_files import DESCRIPTORS
    from seqnet_ros.models.place_model import build_model, load_preset

    assert request.maps is not None
    maps = Recordings(request.maps)
    pair = tuning.DrivePair(
        maps, Recordings(request.queries, maps.datum), request.tolerance, request.pairs)
    preset, base_dir = load_preset(request.model, request.weights)
    described = DescriptorCache(
        build_model(preset, request.device, base_dir), output / DESCRIPTORS)
    tuner = tuning.Tuner(described, preset, pair, request.camera)
    searched = wanted or tuning.usual_search(pair.posed)
    start = _start(preset, pair.posed, searched)
    try:
        with progress_bar('trials', most) as show:
            best = tuning.tune(tuner, start, searched, most, precision, show)
    finally:
        described.close()
    base = tuner.try_out(start)
    if base.metrics is None and best.metrics is None:
        raise InputError(f'no settings could be tried: {base.problem}')
    return best, base, tuner.trials


def _start(preset: 'Preset', posed: bool, searched: dict[str, tuple[Any, ...]],
           ) -> dict[str, Any]:
    """Return the model's own values of the settings that are searched."""
    from seqnet_ros.evaluation.replay.tuning import SPEEDS

    values = preset.engine.model_dump()
    found: dict[str, Any] = {}
    for name in searched:
        if name == SPEEDS:
            found[name] = values['matching']['min_speed'], values['matching']['max_speed']
            continue
        section, _, field = name.partition('.')
        if values.get(section) is None:
            raise InputError(f'the model {preset.model.name} has no {section} settings, so that '
                             f'{name} cannot be searched, expected a model file with '
                             f"'{section}: {{}}'")
        found[name] = values[section][field]
    if found.get('keyframes.every') == 'auto':
        found['keyframes.every'] = '1m' if posed else '1'
    return found


def _conclude(best: 'Trial', base: 'Trial', tried: 'list[Trial]',
              checked: 'EvaluationRequest | None',
              output: Path) -> None:
    from seqnet_ros.evaluation.replay.tuning import engine_settings, parameter_file

    settings = engine_settings(best.settings)
    _write_trials(tried, output / TRIALS)
    verdict, confirmed = 'not checked on another pair', True
    if checked is not None:
        verdict, confirmed = _check(best, base, checked, output)
    build = ' '.join(f'--set {name}={value}' for name, value in settings.items())
    text = parameter_file(settings, [
        'Settings found by seqnet_ros tune; ' + verdict + '.',
        f'Training pair: {_show(best)}; with the settings of the model: {_show(base)}.',
        'The map has to be made with the same spacing and sequence length:',
        f'seqnet_ros map build SOURCE --output MAP {build}'])
    with whole_file(output / PARAMETERS) as file:
        file.write(text.encode())
    print_fields({'parameters': output / PARAMETERS, 'trials': len(tried),
                  'as before': _show(base), 'tuned': _show(best), 'check': verdict,
                  **{name: str(value) for name, value in settings.items()}})
    if not confirmed:
        say('Warning: ', 'the check does not confirm the settings: they suit the training pair '
                         'only', style='yellow')
        raise typer.Exit(INCOMPLETE)


def _check(best: 'Trial', base: 'Trial', request: 'EvaluationRequest',
           output: Path) -> tuple[str, bool]:
    """Evaluate both settings on the other pair; return what came of it and whether it is good."""
    from dataclasses import replace

    from seqnet_ros.evaluation.replay.comparison import compare_runs
    from seqnet_ros.evaluation.replay.evaluate_recordings import evaluate_recordings
    from seqnet_ros.evaluation.replay.tuning import engine_settings
    from seqnet_ros.evaluation.report.comparison_page import write_comparison
    from seqnet_ros.evaluation.report.page import write_report

    for name, trial in ((_DEFAULT, base), (_TUNED, best)):
        say('', f'checking: {name}')
        run = evaluate_recordings(replace(request, settings=engine_settings(trial.settings)),
                                  output / name, progress_bar)
        with working('writing the report'):
            write_report(run, output / name)
    found = compare_runs([output / _DEFAULT, output / _TUNED])
    write_comparison(found, output)
    show_comparison(found)
    verdicts = found.runs[1].verdicts()
    worse = [name for name, verdict in verdicts.items() if verdict == 'worse']
    better = [name for name, verdict in verdicts.items() if verdict == 'better']
    parts = ([f'better: {", ".join(better)}'] if better else []) + (
        [f'worse: {", ".join(worse)}'] if worse else [])
    words = '; '.join(parts) or 'no clear difference'
    return f'on the other pair {words}', not worse or bool(better)


def _show(trial: 'Trial') -> str:
    from seqnet_ros.evaluation.replay.verdict import percent

    metrics = trial.metrics
    if metrics is None:
        return f'not possible ({trial.problem})'
    return (f'Recall@1 {percent(metrics.recall[1])}, '
            f'{percent(metrics.route.localized)} of the route localized, '
            f'{metrics.accepted.wrong} of {metrics.accepted.results} accepted wrong')


def _write_trials(tried: 'list[Trial]', path: Path) -> None:
    names = list(tried[0].settings)
    lines = [','.join([*names, 'recall_1', 'localized', 'accepted', 'wrong', 'problem'])]
    for trial in tried:
        values = [_cell(trial.settings.get(name)) for name in names]
        found = trial.metrics
        values += ['', '', '', ''] if found is None else [
            _cell(found.recall[1]), _cell(found.route.localized),
            str(found.accepted.results), str(found.accepted.wrong)]
        lines.append(','.join([*values, '"' + trial.problem.replace('"', "'") + '"']))
    with whole_file(path) as file:
        file.write(('\n'.join(lines) + '\n').encode())


def _cell(value: Any) -> str:
    if value is None:
        return ''
    return ' to '.join(map(str, value)) if isinstance(value, tuple) else str(value)
