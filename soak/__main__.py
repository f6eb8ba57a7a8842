"""Run the soak test: ``make soak``, or ``python -m soak`` in its environment."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seqnet_ros.cli.console import print_fields, progress_bar, say

if TYPE_CHECKING:
    from soak.run import Outcome

FAILED = 1


def soak(
    node: Annotated[Literal['localizer', 'loop_closer', 'both'], typer.Option(
        help='Which node.')] = 'both',
    count: Annotated[int, typer.Option(
        min=100, help='Images that each node has to process.')] = 10_000,
    seed: Annotated[int, typer.Option(help='Decides what happens when.')] = 0,
    output: Annotated[Path, typer.Option(help='Folder for everything.')] = Path('build/soak'),
) -> None:
    """Send a node images at full rate, let everything happen to it and check what it says."""
    _keep_to_this_machine()
    from soak.errors import SoakError
    from soak.run import soak_localizer, soak_loop_closer

    runs = {'localizer': soak_localizer, 'loop_closer': soak_loop_closer}
    failed = False
    for name, run in runs.items():
        if node not in (name, 'both'):
            continue
        (output / name).mkdir(parents=True, exist_ok=True)
        try:
            with progress_bar(name, count) as show:
                outcome = run(count, seed, output / name, show)
        except SoakError as error:
            say('Failed: ', str(error), style='bold red')
            raise typer.Exit(FAILED) from error
        report(outcome, seed)
        failed |= bool(outcome.findings)
    if failed:
        raise typer.Exit(FAILED)


def report(outcome: 'Outcome', seed: int) -> None:
    """Print what became of a run."""
    counts, slope = outcome.counts, outcome.slope
    print_fields({
        'node': f'{outcome.node}, seed {seed}, {outcome.seconds:.0f} s',
        'images': f'{outcome.sent} sent, ' + ', '.join(
            f'{number} {what}' for what, number in counts.items()),
        'messages': ', '.join(f'{number} {topic}' for topic, number in outcome.messages.items())
                    + f'; {outcome.accepted} accepted',
        'happened': ', '.join(f'{number} x {what}' for what, number in sorted(
            outcome.happened.items())),
        'cpu': f'{outcome.cpu_ms:.2f} ms for an image processed, all threads',
        'memory': '{:.1f} MiB half-way, {:.1f} MiB at the end'.format(*outcome.memory_mib) + (
            ', too few images to judge' if slope is None
            else f', {slope:+.2f} MiB in 10,000 images after the warm-up'),
        'checks': f'{outcome.findings.looked} made',
    })
    if outcome.findings:
        say('Failed: ', str(outcome.findings), style='bold red')
    else:
        say('Passed', '', style='bold green')


def _keep_to_this_machine() -> None:
    """Keep the traffic on this machine and in a domain of its own, before ROS is imported."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
    os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'


if __name__ == '__main__':
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(soak)
    app(prog_name='python -m soak')
