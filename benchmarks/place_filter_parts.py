"""What the parts of the place filter contribute, on several pairs of drives.

``python -m benchmarks.place_filter_parts --data DATA --bags MAP QUERIES TRUTH`` evaluates every
variant as ``seqnet_ros evaluate bags`` does. ``DATA`` holds ``gardens_point``, ``rtabmap_loop`` and
``nordland_64x32``; the bags have odometry, and the truth is a file of the true poses of the
queries. ``make demo`` leaves such bags in ``build/demo``.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import RecordingOptions, Recordings, ReplayFrame
from seqnet_ros.evaluation.replay.tuning import DrivePair, Tuner
from seqnet_ros.models.place_model import build_model, load_preset

_NO_ODOMETRY = 'no odometry'
VARIANTS: dict[str, dict[str, Any]] = {
    'default': {},
    # The robot is taken to be on the map, whatever it sees.
    'no state off the map': {
        'filter.start': 0.999999, 'filter.enter': 0.999999, 'filter.leave': 1e-9},
    _NO_ODOMETRY: {},
    'images always show the place': {'filter.unseen': 0.0},
    'one speed': {'filter.min_speed': 1.0, 'filter.max_speed': 1.0},
    'evidence x 0.5': {'filter.evidence': 0.5},
    'evidence x 2': {'filter.evidence': 2.0},
    'background of 1 keyframe': {'filter.background_frames': 1.0},
    'sequence search': {'localization.method': 'sequence'},
}


class WithoutOdometry(Recordings):
    """Recordings whose poses are ground truth only."""

    def __iter__(self) -> Iterator[ReplayFrame]:
        """Yield the frames without their poses."""
        for found in super().__iter__():
            yield found._replace(frame=replace(found.frame, pose=None))


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.place_filter_parts', description=__doc__)
    parser.add_argument('--data', type=Path)
    parser.add_argument('--bags', nargs=3, type=Path, action='append', default=[],
                        metavar=('MAP', 'QUERIES', 'TRUTH'))
    parser.add_argument('--model', default='hog')
    parser.add_argument('--weights', type=Path)
    arguments = parser.parse_args()
    preset, base_dir = load_preset(arguments.model, arguments.weights)
    model = build_model(preset, base_dir=base_dir)
    pairs = {**({} if arguments.data is None else _folders(arguments.data)),
             **{queries.name: _bags(reference, queries, truth)
                for reference, queries, truth in arguments.bags}}
    with tempfile.TemporaryDirectory() as folder:
        described = DescriptorCache(model, Path(folder))
        for name, pair in pairs.items():
            table = Table('variant', 'accepted', 'wrong', 'Recall@1', 'calibration error',
                          title=f'{name}, {len(pair.queries)} images, {arguments.model}')
            for variant, settings in VARIANTS.items():
                shown = pair
                if variant == _NO_ODOMETRY:
                    if not pair.posed:
                        continue
                    shown = DrivePair(pair.maps, WithoutOdometry(pair.queries.options),
                                      pair.tolerance)
                trial = Tuner(described, preset, shown).try_out(settings)
                if trial.metrics is None:
                    table.add_row(variant, trial.problem)
                else:
                    table.add_row(variant, *_figures(trial.metrics))
            Console(width=100).print(table)
        described.close()


def _folders(data: Path) -> dict[str, DrivePair]:
    gardens, nordland, loop = (
        data / name for name in ('gardens_point', 'nordland_64x32', 'rtabmap_loop'))
    two = Tolerance.parse('2frames')
    return {
        'Gardens Point': DrivePair(_drive(gardens / 'day_left'), _drive(gardens / 'day_right'),
                                   two),
        'Nordland': DrivePair(_drive(nordland / 'summer'), _drive(nordland / 'winter'),
                              Tolerance.parse('1frames')),
        'halves of Nordland': DrivePair(_drive(nordland / 'summer', (0, 1788)),
                                        _drive(nordland / 'winter', (1788, None)), two),
        'corridor on Gardens Point': DrivePair(_drive(gardens / 'day_left'), _drive(loop), two),
    }


def _bags(reference: Path, queries: Path, truth: Path) -> DrivePair:
    maps = _drive(reference)
    options = RecordingOptions((queries,), truth=(str(truth),))
    return DrivePair(maps, Recordings(options, maps.datum),
                     Tolerance.parse('5m'))


def _drive(path: Path, frames: tuple[int, int | None] = (0, None)) -> Recordings:
    return Recordings(RecordingOptions((path,), frames=frames))


def _figures(metrics: LocalizationMetrics) -> tuple[str, ...]:
    error, recall = metrics.calibration.expected_error, metrics.recall[1]
    return (f'{metrics.accepted.results:,}', f'{metrics.accepted.wrong:,}',
            '' if recall is None else f'{recall:.3f}', '' if error is None else f'{error:.3f}')


if __name__ == '__main__':
    main()
