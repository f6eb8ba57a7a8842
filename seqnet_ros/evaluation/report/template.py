"""The templates of the pages, and their common parts."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from seqnet_ros.evaluation.replay.verdict import length, percent

_TEMPLATES = Path(__file__).parent / 'templates'


def render(name: str, **context: Any) -> str:
    """Return a page; names that the template does not know from the context are errors."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, length=length)
    return environment.get_template(name).render(style=resource('report.css'), **context)


def resource(name: str) -> Markup:
    """Return a style sheet or a script, which is part of the page."""
    return Markup((_TEMPLATES / name).read_text(encoding='utf-8'))
