"""All faults, how often each is tried, and the table of what became of them."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults.outcome import FAILURES, KILLED, Outcome

Run = Callable[[Outcome, Path, random.Random, int], None]

TABLE_BEGIN, TABLE_END = '<!-- campaign: begin -->', '<!-- campaign: end -->'


@dataclass(frozen=True)
class Fault:
    """Something that happens to files or nodes.

    Attributes:
        name: a short name.
        what: one line for the table.
        run: lets it happen as often as it is told.
        short: cases of the short campaign; 0 leaves it out.
        long: cases of the long one.
        needs_ros: whether it needs nodes.
    """

    name: str
    what: str
    run: Run
    short: int
    long: int
    needs_ros: bool = False


def all_faults() -> list[Fault]:
    """Return the faults in the order of the table."""
    from faults import commands, downloads, inputs, maps, outputs, saves
    from faults.command_lines import SLOW, TRAINING

    return [
        Fault('kill-lines', 'Save killed at a line of code', saves.kill_at_every_line, 40, 100_000),
        Fault('kill-commands', '`map build --overwrite` killed at any time', saves.kill_commands,
              4, 100),
        Fault('no-space', 'Save without space', saves.no_space, 15, 300),
        Fault('power-loss', 'Power lost during a save', saves.power_loss, 60, 2000),
        Fault('kill-outputs', 'Other output killed at a line of code', outputs.kill_at_every_line,
              40, 1000),
        Fault('no-space-outputs', 'Other output without space', outputs.no_space, 15, 300),
        Fault('savers', 'Maps opened while two processes save', saves.savers_and_openers, 60,
              3000),
        Fault('damaged', 'Damaged map', maps.damaged, 80, 1000),
        Fault('forged', 'Changed map with fitting checksums',
              partial(maps.damaged, with_checksums=True), 80, 1000),
        Fault('images', 'Fuzzed image', inputs.images, 500, 10_000),
        Fault('messages', 'Fuzzed message', inputs.messages, 500, 10_000),
        Fault('files', 'Hostile or fuzzed file for any reader', inputs.hostile_files, 300, 10_000),
        Fault('services', 'Service call, from 8 threads while images stream',
              _of_nodes('services_at_once'), 0, 2000, True),
        Fault('clock', 'Jump of the clock', _of_nodes('clock_jumps'), 0, 200, True),
        Fault('kill-nodes', 'Node killed while it saves', _of_nodes('kill_nodes'), 0, 20, True),
        Fault('damaged-large', 'Damaged map above 64 MiB', partial(maps.damaged, large=True), 0,
              1000),
        Fault('forged-large', 'Changed map above 64 MiB with fitting checksums',
              partial(maps.damaged, large=True, with_checksums=True), 0, 1000),
        Fault('changed-open', 'Large map cut or overwritten while it is searched',
              maps.changed_while_open, 0, 40),
        Fault('kill-results', 'Command killed or interrupted while it writes, then repeated',
              commands.disturbed, 4, 120),
        Fault('no-space-results', 'Command without space', commands.no_space, 4, 120),
        Fault('bad-outputs', 'Command with an output that cannot be used', commands.bad_outputs,
              8, 200),
        Fault('kill-slow', 'Evaluation, tuning, export of a network or refresh killed, repeated',
              partial(commands.disturbed, kind=SLOW), 0, 7),
        Fault('no-space-slow', 'Evaluation, tuning, export of a network or refresh without space',
              partial(commands.no_space, kind=SLOW), 0, 7),
        Fault('bad-outputs-slow',
              'Evaluation, tuning, export of a network or refresh with such an output',
              partial(commands.bad_outputs, kind=SLOW), 0, 200),
        Fault('kill-trainings', 'Training killed or interrupted, then resumed',
              partial(commands.disturbed, kind=TRAINING), 0, 12),
        Fault('no-space-trainings', 'Training without space',
              partial(commands.no_space, kind=TRAINING), 0, 8),
        Fault('bad-outputs-trainings', 'Training with such an output',
              partial(commands.bad_outputs, kind=TRAINING), 0, 200),
        Fault('downloads', '`models fetch` from a server that misbehaves', downloads.downloads, 6,
              41),
    ]


def _of_nodes(name: str) -> Run:
    def run(outcome: Outcome, *arguments: object) -> None:
        from faults import nodes
        from soak.errors import SoakError

        try:
            getattr(nodes, name)(outcome, *arguments)
        except SoakError as error:  # the node ended, or says nothing
            outcome.add(KILLED, error)

    return run


def run_fault(fault: Fault, count: int, seed: int, folder: Path) -> Outcome:
    """Let a fault happen.

    Args:
        fault: the fault.
        count: how often, at most.
        seed: decides the cases.
        folder: an empty or new folder.
    """
    outcome = Outcome(fault.what)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    fault.run(outcome, folder, random.Random(f'{fault.name} {seed}'), count)
    outcome.seconds = time.monotonic() - started
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    head = ['fault', 'cases', 'what happened', *FAILURES, 'peak, MiB', 's']
    rows = [' | '.join(head), ' | '.join(['---'] * len(head))]
    for one in outcomes:
        good = ', '.join(f'{count} {ending}' for ending, count in sorted(one.endings.items())
                         if ending not in FAILURES)
        rows.append(' | '.join([
            one.fault, f'{one.cases:,}', good, *(str(one.endings[name]) for name in FAILURES),
            f'{one.peak_mib:.0f}' if one.peak_mib else '-', f'{one.seconds:.0f}']))
    return '\n'.join(f'| {row} |' for row in rows) + '\n'


def write_table(path: Path, content: str, order: Sequence[str] = ()) -> None:
    """Replace the table in a page; rows of faults that were not run, and all else, stay.

    Args:
        path: the page.
        content: the table of the faults that were run.
        order: all faults, as in the first column.
    """
    page = path.read_text(encoding='utf-8')
    before, begin, rest = page.partition(TABLE_BEGIN)
    old, end, after = rest.partition(TABLE_END)
    head = content.splitlines()[:2]
    rows = {_first_cell(line): line for line in [*old.splitlines(), *content.splitlines()]
            if line.startswith('|') and line not in head}
    rows = {name: rows[name] for name in [*order, *rows] if name in rows}
    content = '\n'.join([*head, *rows.values()]) + '\n'
    path.write_text(f'{before}{begin}\n\n{content}\n{end}{after}', encoding='utf-8')


def _first_cell(line: str) -> str:
    return line.split('|')[1].strip()
