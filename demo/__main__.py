"""Run the demo: ``make demo``, or ``python -m demo`` in its environment."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import log_to_console, print_fields, progress_bar, say
from seqnet_ros.models.default_model import DEFAULT_TEXT, default_model

if TYPE_CHECKING:
    from demo.playback import Answer
    from demo.recording import Scenario
    from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
    from seqnet_town import Drive

NOT_FOUND = 1
_SEQUENCE_LENGTH = 10


def demo(
    output: Annotated[Path, typer.Option(help='Folder for everything.')] = Path('build/demo'),
    length: Annotated[float | None, typer.Option(
        min=60.0, help='Meters to drive.', show_default='a lap, 421')] = None,
    width: Annotated[int, typer.Option(
        min=160, max=1920, help='Width of the images, pixels.')] = 640,
    model: Annotated[str, typer.Option(
        help='Model to map and to localize with.', show_default=DEFAULT_TEXT)] = '',
) -> None:
    """Map a rendered town by day, find the robot in it at dusk, and report how well that went."""
    from demo.errors import DemoError
    from seqnet_ros.core.errors import SeqnetRosError

    _keep_to_this_machine()
    log_to_console()
    try:
        _run(output, length, width, model or default_model())
    except (DemoError, SeqnetRosError) as error:
        say('Error: ', str(error), style='bold red')
        raise typer.Exit(NOT_FOUND) from error


def _keep_to_this_machine() -> None:
    """Keep the traffic on this machine and in a domain of its own, before ROS is imported."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))


def _run(output: Path, length: float | None, width: int, model: str) -> None:
    from demo.picture import draw_picture
    from demo.recording import Scenario
    from demo.report import judge, measure, require_found, summarise

    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    scenario = Scenario(length, width)
    map_bag, query_bag, map_path = output / 'map_drive', output / 'query_drive', output / 'map'
    _record(scenario, map_bag, query_bag)
    _command('map', 'build', str(map_bag), '--model', model, '--output', str(map_path),
             '--sequence-length', str(_SEQUENCE_LENGTH), '--overwrite', '--no-backup')
    drive = scenario.query_drive
    answers = _localize(map_path, query_bag, _seconds(drive), model, output / 'localizer.log')
    judged = judge(answers, drive.stamps, drive.poses)
    print_fields(summarise(judged, len(drive)))
    if answers:
        picture = output / 'demo.png'
        draw_picture(judged, map_bag, query_bag, scenario.mapping_drive.poses,
                     _title(measure(judged)), picture)
        print_fields({'picture': picture})
    report = _evaluate(output, map_bag, map_path, query_bag)
    print_fields({'report': report, 'time': f'{time.monotonic() - started:.0f} s in all'})
    require_found(judged)


def _title(metrics: 'LocalizationMetrics') -> str:
    from seqnet_ros.evaluation.replay.verdict import percent

    accepted = metrics.accepted
    return (f'Mapped by day, found at dusk: Recall@1 {metrics.recall[1] or 0:.2f}, '
            f'{accepted.results} of {metrics.queries.searched} accepted, '
            f'{percent(accepted.precision)} of them within 5 m')


def _record(scenario: 'Scenario', map_bag: Path, query_bag: Path) -> None:
    from demo.recording import drifting_odometry, write_drive, write_truth

    mapping, query = scenario.mapping_drive, scenario.query_drive
    for drive, odometry, bag in (
            (mapping, mapping.poses, map_bag),
            (query, drifting_odometry(query.poses, seed=2), query_bag)):
        say(f'{bag}: ', f'{drive.condition.name}, {drive.distances[-1]:.0f} m in '
                        f'{_seconds(drive):.0f} s, {len(drive)} images', style='bold')
        with progress_bar('rendering', len(drive)) as show:
            write_drive(drive, odometry, bag, show)
    write_truth(query, query_bag.with_suffix('.tum'))


def _seconds(drive: 'Drive') -> float:
    return float(drive.stamps[-1] - drive.stamps[0]) / 1e9


def _command(*arguments: str) -> None:
    from demo.errors import DemoError

    say('$ ', shlex.join(['seqnet_ros', *arguments]), style='bold')
    done = subprocess.run([sys.executable, '-m', 'seqnet_ros.cli.main', *arguments], check=False)
    if done.returncode:
        raise DemoError(f'the command ended with status {done.returncode}')


def _evaluate(output: Path, map_bag: Path, map_path: Path, query_bag: Path) -> Path:
    """Replay the second drive through the same engine and write the report."""
    from demo.report import TOLERANCE_M
    from seqnet_ros.evaluation.replay.run_files import REPORT

    folder = output / 'evaluation'
    _command('evaluate', 'bags', '--map', str(map_path), '--map-source', str(map_bag),
             '--query-source', str(query_bag), '--query-truth',
             str(query_bag.with_suffix('.tum')), '--tolerance', f'{TOLERANCE_M:g}m',
             '--output', str(folder))
    return folder / REPORT


def _localize(map_path: Path, query_bag: Path, seconds: float, model: str,
              log: Path) -> 'list[Answer]':
    from demo.node_process import NodeProcess
    from demo.playback import play_to_listener
    from demo.recording import IMAGE_TOPIC, ODOMETRY_TOPIC

    arguments = ['-p', f'map:={map_path.absolute()}', '-p', f'model:={model}',
                 '-p', f'sequence.length:={_SEQUENCE_LENGTH}', '-p', 'use_sim_time:=true',
                 '-p', 'image_transport:=compressed',
                 '-r', f'image/compressed:={IMAGE_TOPIC}', '-r', f'odometry:={ODOMETRY_TOPIC}']
    say('$ ', shlex.join(['ros2', 'run', 'seqnet_ros', 'localizer', '--ros-args', *arguments]),
        style='bold')
    with NodeProcess(arguments, log) as node, progress_bar('playing', round(seconds)) as show:
        answers = play_to_listener(query_bag, IMAGE_TOPIC, node.check, show)
        node.stop()
    return answers


if __name__ == '__main__':
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(demo)
    app(prog_name='python -m demo')
