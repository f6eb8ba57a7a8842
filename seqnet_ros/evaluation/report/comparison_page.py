"""The comparison of runs as a page of its own."""

from pathlib import Path

from seqnet_ros.core.files import whole_file
from seqnet_ros.evaluation.replay.comparison_results import ComparisonResults
from seqnet_ros.evaluation.report.template import render
from seqnet_ros.evaluation.result_document import write_document

PAGE, DOCUMENT = 'compare.html', 'compare.json'


def write_comparison(found: ComparisonResults, folder: Path) -> Path:
    """Write a comparison as JSON and as a page; return the path of the page.

    Raises:
        InputError: it cannot be written.
    """
    page = render('compare.html', found=found)
    write_document(folder / DOCUMENT, found)
    with whole_file(folder / PAGE) as file:
        file.write(page.encode())
    return folder / PAGE
