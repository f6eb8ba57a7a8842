"""Tune settings on one pair of recordings and check them on another.

The search itself is in `tuning`; here are what it is run with and the files it leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqnet_ros.config.preset import Preset
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import begins_with, prepare_outputs, refuse_file, whole_file
from seqnet_ros.evaluation.replay.comparison_results import ComparisonResults
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest
from seqnet_ros.evaluation.replay.recordings import Recordings
from seqnet_ros.evaluation.replay.run_files import DESCRIPTORS
from seqnet_ros.evaluation.replay.tuning import (
    PRECISION,
    SPEEDS,
    DrivePair,
    Trial,
    Tuner,
    engine_settings,
    parameter_file,
    tune,
    usual_search,
)
from seqnet_ros.evaluation.replay.verdict import percent
from seqnet_ros.models.place_model import build_model, load_preset
from seqnet_ros.pipelines.progress import Bars, no_bar

PARAMETERS, TRIALS = 'localizer.yaml', 'trials.csv'
_ORIGIN = 'Settings found by seqnet_ros tune'
_COLUMNS = 'recall_1', 'localized', 'accepted', 'wrong', 'problem'
_HEADER_BYTES = 10_000
BEFORE, TUNED = 'check-as-before', 'check-tuned'
NOT_CHECKED = 'not checked on another pair'


@dataclass(frozen=True)
class TuningRequest:
    """What to tune on.

    Attributes:
        training: the pair of recordings that settings are tried on; it has ``maps``.
        check: another pair, to check the best settings on; None checks nothing.
        searched: values to try by dotted name of the setting; None tries the usual ones.
        trials: number of trials at most.
        precision: share of accepted places that must be right.
    """

    training: EvaluationRequest
    check: EvaluationRequest | None = None
    searched: Mapping[str, tuple[Any, ...]] | None = None
    trials: int = 60
    precision: float = PRECISION


@dataclass(frozen=True)
class TuningRun:
    """What a search found.

    Attributes:
        best: the best trial.
        base: the trial with the settings of the model.
        trials: all trials in order.
    """

    best: Trial
    base: Trial
    trials: tuple[Trial, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """The best settings, as the engine knows them."""
        return engine_settings(self.best.settings)


def check_tuning_folder(output: Path) -> None:
    """Check, before long work, that the files can be written and replace only those of a run.

    Raises:
        InputError: the folder is a file, or holds another file of such a name.
    """
    refuse_file(output)
    prepare_outputs([output / PARAMETERS], lambda path: begins_with(path, f'# {_ORIGIN}'))
    prepare_outputs([output / TRIALS], _is_table_of_trials)


def _is_table_of_trials(path: Path) -> bool:
    with path.open('rb') as file:
        return file.readline(_HEADER_BYTES).rstrip().endswith(','.join(_COLUMNS).encode())


def search_settings(request: TuningRequest, output: Path, bars: Bars = no_bar) -> TuningRun:
    """Search the settings on the training pair.

    Args:
        request: what to tune on.
        output: folder that descriptors are kept in.
        bars: shows progress.

    Raises:
        InputError: a recording or setting cannot be used, or no trial was possible.
    """
    training = request.training
    assert training.maps is not None
    maps = Recordings(training.maps)
    pair = DrivePair(
        maps, Recordings(training.queries, maps.datum), training.tolerance, training.pairs)
    preset, base_dir = load_preset(training.model, training.weights)
    described = DescriptorCache(
        build_model(preset, training.device, base_dir), output / DESCRIPTORS)
    tuner = Tuner(described, preset, pair, training.camera)
    searched = request.searched or usual_search(pair.posed, preset.engine.localization.method)
    start = _start(preset, pair.posed, searched)
    try:
        with bars('trials', request.trials) as show:
            best = tune(tuner, start, searched, request.trials, request.precision, show)
    finally:
        described.close()
    base = tuner.try_out(start)
    if base.metrics is None and best.metrics is None:
        raise InputError(f'no settings could be evaluated: {base.problem}')
    return TuningRun(best, base, tuple(tuner.trials))


def _start(preset: Preset, posed: bool, searched: Mapping[str, tuple[Any, ...]],
           ) -> dict[str, Any]:
    """Return the model's own values of the settings that are searched."""
    engine = preset.engine
    found: dict[str, Any] = {}
    for name in searched:
        if name == SPEEDS:
            found[name] = engine.matching.min_speed, engine.matching.max_speed
            continue
        section, _, field = name.partition('.')
        settings = getattr(engine, section, None)
        if settings is None:
            raise InputError(f'model {preset.model.name} has no {section} settings, so {name} '
                             f"cannot be searched: expected a model file with '{section}: {{}}'")
        found[name] = getattr(settings, field)
    if found.get('keyframes.every') == 'auto':
        found['keyframes.every'] = '1m' if posed else '1'
    return found


def check_requests(found: TuningRun, check: EvaluationRequest) -> dict[str, EvaluationRequest]:
    """Return what to evaluate on the other pair, by folder: as before the tuning, and tuned."""
    return {name: replace(check, settings=engine_settings(trial.settings))
            for name, trial in ((BEFORE, found.base), (TUNED, found.best))}


def check_verdict(comparison: ComparisonResults) -> tuple[str, bool]:
    """Return the outcome of the comparison, and whether it confirms the settings."""
    verdicts = comparison.runs[1].verdicts()
    worse = [name for name, verdict in verdicts.items() if verdict == 'worse']
    better = [name for name, verdict in verdicts.items() if verdict == 'better']
    parts = ([f'better: {", ".join(better)}'] if better else []) + (
        [f'worse: {", ".join(worse)}'] if worse else [])
    words = '; '.join(parts) or 'no clear difference'
    return f'on the other pair {words}', not worse or bool(better)


def write_parameters(found: TuningRun, verdict: str, path: Path) -> None:
    """Write the best settings as a parameter file for the nodes.

    Raises:
        InputError: the file cannot be written.
    """
    build = ' '.join(f'--set {name}={value}' for name, value in found.settings.items())
    best, base = describe_trial(found.best), describe_trial(found.base)
    text = parameter_file(found.settings, [
        f'{_ORIGIN}; {verdict}.',
        f'Training pair: {best}; with the settings of the model: {base}.',
        'Build the map with the same settings, some of which are properties of it:',
        f'seqnet_ros map build SOURCE --output MAP {build}'])
    with whole_file(path) as file:
        file.write(text.encode())


def describe_trial(trial: Trial) -> str:
    """Return what a trial led to, in words."""
    metrics = trial.metrics
    if metrics is None:
        return f'not possible ({trial.problem})'
    return (f'Recall@1 {percent(metrics.recall[1])}, '
            f'{percent(metrics.route.localized)} of the route localized, '
            f'{metrics.accepted.wrong} of {metrics.accepted.results} accepted wrong')


def write_trials(trials: tuple[Trial, ...], path: Path) -> None:
    """Write a table of all trials.

    Raises:
        InputError: the file cannot be written.
    """
    names = list(trials[0].settings)
    lines = [','.join([*names, *_COLUMNS])]
    for trial in trials:
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
