"""Run the soak test: ``make soak``, or ``python -m soak`` in its environment."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seqnet_ros.cli.console import print_fields, progress_bar, say

if TYPE_CHECKING:
    from soak.run import Outcome

FAILED = 1
_STEPS = 1000
"""Of the progress bar."""


def soak(
    node: Annotated[Literal['localizer', 'loop_closer', 'both'], typer.Option(
        help='Which node.')] = 'both',
    count: Annotated[int, typer.Option(
        min=100, help='Images that each node has to process.')] = 10_000,
    minutes: Annotated[float | None, typer.Option(
        min=0.5, help='Time that each node runs, in place of the count.')] = None,
    rate: Annotated[float | None, typer.Option(
        min=0.1, help='Images that reach the node for each that it processes; else chance decides.',
    )] = None,
    seed: Annotated[int, typer.Option(help='Decides what happens when.')] = 0,
    output: Annotated[Path, typer.Option(help='Folder for everything.')] = Path('build/soak'),
) -> None:
    """Send a node images at full rate, let everything happen to it and check what it says."""
    _keep_to_this_machine()
    from soak.errors import SoakError
    from soak.run import Plan, soak_localizer, soak_loop_closer

    plan = Plan(seed, count, 60 * (minutes or 0), rate)
    runs = {'localizer': soak_localizer, 'loop_closer': soak_loop_closer}
    failed = False
    for name, run in runs.items():
        if node not in (name, 'both'):
            continue
        folder = output.absolute() / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with progress_bar(name, _STEPS) as show:
                outcome = run(plan, folder, lambda share: show(round(_STEPS * min(share, 1))))
        except SoakError as error:
            say('Failed: ', str(error), style='bold red')
            raise typer.Exit(FAILED) from error
        report(outcome, seed)
        failed |= bool(outcome.findings)
    if failed:
        raise typer.Exit(FAILED)


def report(outcome: 'Outcome', seed: int) -> None:
    """Print what became of a run."""
    counts, paced = outcome.counts, outcome.paced
    memory, last = outcome.memory, outcome.samples[-1]
    fields = {
        'node': f'{outcome.node}, seed {seed}, {outcome.seconds:.0f} s',
        'images': f'{outcome.sent} sent, ' + ', '.join(
            f'{number} {what}' for what, number in counts.items()),
        'messages': ', '.join(f'{number} {topic}' for topic, number in outcome.messages.items())
                    + f'; {outcome.accepted} accepted, {outcome.elsewhere} of them elsewhere',
        'happened': ', '.join(f'{number} x {what}' for what, number in sorted(
            outcome.happened.items())),
        'cpu': f'{outcome.cpu_ms:.2f} ms for an image processed, all threads',
        'memory': f'{last.resident / 2**20:.1f} MiB at the end, ' + (
            'too few images to judge' if memory is None
            else f'{memory} MiB in 10,000 images after the warm-up'),
        'handles': f'{last.handles} at the end' + (
            '' if outcome.handles is None else f', {outcome.handles} an hour'),
        'threads': f'{last.threads} at the end' + (
            '' if outcome.threads is None else f', {outcome.threads} an hour'),
    }
    if paced.seconds:
        fields['rate'] = (f'{paced.sent / paced.seconds:.1f} images a second sent, '
                          f'{paced.received / paced.seconds:.1f} received, '
                          f'{paced.processed / paced.seconds:.1f} processed')
    for percent, values in outcome.latency_ms.items():
        fields[f'latency, {percent} %'] = ', '.join(
            f'{value:.1f}' for value in values) + ' ms in the quarters of the run'
    print_fields({**fields, 'checks': f'{outcome.findings.looked} made'})
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
