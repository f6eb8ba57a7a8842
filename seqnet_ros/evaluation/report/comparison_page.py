"""The comparison of runs as a page of its own."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from seqnet_ros.evaluation.verdict import percent
from seqnet_ros.files import whole_file

PAGE, DOCUMENT = 'compare.html', 'compare.json'
_TEMPLATES = Path(__file__).parent / 'templates'


def write_comparison(found: dict[str, Any], folder: Path) -> Path:
    """Write what `compare_runs` returned, as JSON and as a page; return the path of the page.

    Raises:
        InputError: it cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent)
    page = environment.get_template('compare.html').render(
        found=found, style=Markup((_TEMPLATES / 'report.css').read_text(encoding='utf-8')))
    with whole_file(folder / DOCUMENT) as file:
        file.write((json.dumps(found, indent=1, allow_nan=False) + '\n').encode())
    with whole_file(folder / PAGE) as file:
        file.write(page.encode())
    return folder / PAGE
