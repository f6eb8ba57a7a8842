"""The comparison of runs as a page of its own."""

from pathlib import Path

from seqnet_ros.core.files import prepare_outputs, refuse_file, whole_file
from seqnet_ros.evaluation.replay.comparison_results import ComparisonResults
from seqnet_ros.evaluation.report.template import render
from seqnet_ros.evaluation.result_document import write_document

PAGE, DOCUMENT = 'compare.html', 'compare.json'
_MARKS = {PAGE: b'<title>Comparison of ', DOCUMENT: b'{\n "queries":'}
_HEAD_BYTES = 1000


def check_comparison_folder(folder: Path) -> None:
    """Check, before long work, that the files can be written and replace only those of a run.

    Raises:
        InputError: the folder is a file, or holds another file of such a name.
    """
    refuse_file(folder)
    prepare_outputs([folder / name for name in _MARKS], _is_own)


def _is_own(path: Path) -> bool:
    with path.open('rb') as file:
        return _MARKS[path.name] in file.read(_HEAD_BYTES)


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
