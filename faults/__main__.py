"""Run the fault campaign: ``make faults``, or ``python -m faults`` in its environment."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields, say

FAILED = 1
_PAGE = Path(__file__).parents[1] / 'docs' / 'reliability.md'


def faults(
    long: Annotated[bool, typer.Option('--long', help='Every case; takes hours.')] = False,
    only: Annotated[list[str] | None, typer.Option(help='Faults to run, by name.')] = None,
    count: Annotated[int | None, typer.Option(
        min=1, help='Cases of each fault in place of the usual number.')] = None,
    seed: Annotated[int, typer.Option(help='Decides the cases.')] = 0,
    output: Annotated[Path, typer.Option(help='Folder for everything.')] = Path('build/faults'),
    write: Annotated[bool, typer.Option(
        '--write', help='Write the table of docs/reliability.md.')] = False,
) -> None:
    """Let everything happen to files, maps and nodes that can, and count what became of them."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
    import cv2
    import torch

    # Forked children would wait for the threads of their parent.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    from faults.campaign import all_faults, run_fault, table, write_table

    known = all_faults()
    unknown = set(only or ()) - {fault.name for fault in known}
    if unknown:
        raise typer.BadParameter(f'{unknown.pop()!r} is no fault, expected some of '
                                 f'{", ".join(fault.name for fault in known)}')
    outcomes = []
    for fault in known:
        cases = (fault.long if long else fault.short) if count is None else count
        chosen = fault.name in only if only else cases > 0
        if not chosen or (fault.needs_ros and find_spec('rclpy') is None):
            continue
        folder = output.absolute() / fault.name
        shutil.rmtree(folder, ignore_errors=True)
        outcome = run_fault(fault, cases or fault.long, seed, folder)
        shutil.rmtree(folder, ignore_errors=True)
        outcomes.append(outcome)
        print_fields({fault.name: f'{outcome.cases} cases, {outcome.failures} failures, '
                                  f'{outcome.seconds:.1f} s, peak {outcome.peak_mib:.0f} MiB: '
                                  f'{dict(outcome.endings)}'})
        for ending, examples in outcome.examples.items():
            for example in examples:
                say(f'{ending}: ', example, style='red')
        if write:
            write_table(_PAGE, table(outcomes), [fault.what for fault in known])
    if any(outcome.failures for outcome in outcomes):
        raise typer.Exit(FAILED)


if __name__ == '__main__':
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(faults)
    app(prog_name='python -m faults')
