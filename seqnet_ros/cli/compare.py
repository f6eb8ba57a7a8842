"""``seqnet_ros compare``: runs of the same drive side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import print_fields, print_table, say, working

if TYPE_CHECKING:
    from seqnet_ros.evaluation.replay.comparison_results import ComparedShare, ComparisonResults


def compare(
    runs: Annotated[list[Path], typer.Argument(
        help='Folders of runs of `evaluate bags`; the others are compared with the first.',
        show_default=False)],
    output: Annotated[Path | None, typer.Option(
        help='Folder for compare.json and compare.html.', show_default=False)] = None,
    block: Annotated[int, typer.Option(
        min=1,
        help='Successive queries that are resampled together; more if frames are dense.')] = 20,
) -> None:
    """Compare evaluations of the same queries, with intervals from a paired bootstrap.

    Queries are resampled 2,000 times in blocks of successive ones, the same for all runs. Every run
    is compared with the first one. A difference counts as better or worse if 95 % of the samples
    agree. Queries without a result in every run are skipped.
    """
    from seqnet_ros.evaluation.replay.comparison import compare_runs
    from seqnet_ros.evaluation.report.comparison_page import (
        check_comparison_folder,
        write_comparison,
    )

    if output is not None:
        check_comparison_folder(output)
    with working('resampling'):
        found = compare_runs(runs, block)
    show_comparison(found)
    if output is not None:
        print_fields({'report': write_comparison(found, output)})


def show_comparison(found: 'ComparisonResults') -> None:
    """Print a comparison: a table of values, and what clearly differs."""
    for note in found.notes:
        say('Warning: ', note, style='yellow')
    names = list(found.runs[0].shares)
    print_table(('run', 'model', *names), [
        (run.name, run.model, *(_cell(run.shares[name]) for name in names))
        for run in found.runs])
    for run in found.runs[1:]:
        clear = [f'{name} {verdict}' for name, verdict in run.verdicts().items()
                 if verdict in ('better', 'worse')]
        print_fields({run.name: ', '.join(clear) or 'no clear difference'})
    for name, values in found.settings.items():
        print_fields({name: ', '.join(map(str, values))})


def _cell(share: 'ComparedShare') -> str:
    if share.value is None:
        return '-'
    return f'{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]'
