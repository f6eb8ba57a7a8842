"""mkdocs hooks: pages generated from the code.

- ``reference/messages.md`` from ``msg/`` and ``srv/``, with their comments;
- ``reference/components.md`` from the registries of descriptors, aggregators and rules;
- ``reference/parameters.md`` from the settings classes that nodes declare their parameters from;
- ``reference/python.md`` from the docstrings of what `seqnet_ros` offers at its top;
- ``notebooks/*.md`` from the notebooks of that folder;
- pages of the navigation that do not exist in this checkout are omitted.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
MESSAGES, PARAMETERS = 'reference/messages.md', 'reference/parameters.md'
COMPONENTS = 'reference/components.md'
PYTHON = 'reference/python.md'
NOTEBOOKS = {f'notebooks/{path.stem}.md': path
             for path in sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))}
_GENERATED = (MESSAGES, PARAMETERS, COMPONENTS, PYTHON, *NOTEBOOKS)


def on_config(config: Any) -> Any:
    """Remove missing pages from the navigation."""
    config.nav = [part for part in map(_existing, config.nav) if part]
    return config


def _existing(part: Any) -> Any:
    """Return a part of the navigation without missing pages; None where nothing is left."""
    if isinstance(part, str):
        there = part in _GENERATED or (ROOT / 'docs' / part).is_file()
        return part if there else None
    (title, content), = part.items()
    if isinstance(content, list):
        kept = [one for one in map(_existing, content) if one]
        return {title: kept} if kept else None
    return {title: content} if _existing(content) else None


def on_files(files: Files, config: Any) -> Files:
    """Add the pages generated from the code."""
    files.append(File.generated(config, MESSAGES, content=messages_page()))
    files.append(File.generated(config, PARAMETERS, content=parameters_page()))
    files.append(File.generated(config, COMPONENTS, content=components_page()))
    files.append(File.generated(config, PYTHON, content=python_page()))
    for name, path in NOTEBOOKS.items():
        files.append(File.generated(config, name, content=notebook_page(path)))
    return files


def messages_page() -> str:
    """Return all messages and services with their comments."""
    opening = ('# Messages and services\n\nGenerated from `msg/` and `srv/`. Topics and their '
               'quality of service are on the page of [the nodes](../nodes.md).\n')
    parts = [opening]
    for folder, kind in (('msg', 'message'), ('srv', 'service')):
        for path in sorted((ROOT / folder).glob(f'*.{folder}')):
            parts.append(f'## {path.stem} ({kind})\n')
            parts.append(_interface(path.read_text(encoding='utf-8')))
    return '\n'.join(parts)


def _interface(text: str) -> str:
    """Return the description of an interface and a table for each of its parts."""
    sections = text.split('\n---\n', 1)
    titles = [''] if len(sections) == 1 else ['Request', 'Response']
    parts = []
    for title, section in zip(titles, sections, strict=True):
        opening, rows = _fields(section)
        if title:
            parts.append(f'### {title} {{ .{title.lower()} }}\n')
        if opening:
            parts.append(opening + '\n')
        parts.append(_table(('type', 'name', 'meaning'), rows) if rows else 'Empty.\n')
    return '\n'.join(parts)


def _fields(section: str) -> tuple[str, list[tuple[str, ...]]]:
    """Return the opening comment and (type, name, comment) of every field and constant."""
    blocks = re.split(r'\n\s*\n', section.strip())
    opening = ''
    if blocks and all(line.startswith('#') for line in blocks[0].splitlines() if line):
        opening = _words(blocks.pop(0).splitlines())
    rows, comment = [], []
    for line in '\n'.join(blocks).splitlines():
        if line.startswith('#'):
            comment.append(line)
        elif line.strip():
            code, _, beside = line.partition('#')
            kind, _, name = code.strip().partition(' ')
            rows.append((f'`{kind}`', f'`{name.strip()}`', _words([*comment, beside])))
            comment = []
    return opening, rows


def _words(lines: Iterable[str]) -> str:
    return ' '.join(line.lstrip('# ').strip() for line in lines).strip()


def parameters_page() -> str:
    """Return the parameters of every node, and those of the engine that all of them share."""
    from seqnet_ros.config.engine import EngineConfig
    from seqnet_ros.config.settings import Settings
    from seqnet_ros.nodes import settings

    opening = ('# Parameters\n\nGenerated from the settings classes of the nodes; `ros2 param '
               'describe` shows the same. *When* states when a new value takes effect: at the '
               'start of the node, when it is configured, when it is activated, or at once '
               '(live).\n')
    parts = [opening]
    for name, found in inspect.getmembers(settings, inspect.isclass):
        of_node = issubclass(found, (settings.NodeSettings, settings.EvaluatorSettings))
        if of_node and found is not settings.NodeSettings:
            node = re.sub(r'(?<!^)(?=[A-Z])', '_', name.removesuffix('Settings')).lower()
            parts.append(f'## `{node}`\n')
            parts.append(_settings_table(found, ''))
    parts.append('## The engine\n\nParameters of the nodes that map or localize; the defaults come '
                 'from the model or the map.\n')
    for section, group in EngineConfig():
        # The geometric check and the rules of plugins have no parameters.
        if isinstance(group, Settings):
            parts.append(f'### `{section}`\n')
            parts.append(_settings_table(type(group), f'{section}.'))
    return '\n'.join(parts)


def components_page() -> str:
    """Return what a model file can name, from the registries."""
    from seqnet_ros.config.engine import RULES
    from seqnet_ros.config.model import AGGREGATORS, DESCRIPTORS

    opening = ('# Components\n\nWhat a model file can name, generated from the registries; '
               '[plugins](../models.md#your-own-components) add to them.\n')
    parts = [opening, '## Frame descriptors\n']
    for kind, descriptor in DESCRIPTORS.items(plugins=False).items():
        parts.append(f'### `frame.kind: {kind}`\n\n{inspect.getdoc(descriptor.config)}\n')
        parts.append(_table(('setting', 'default', 'meaning'), [
            (f'`{name}`', f'`{_default(info)}`', _meaning(info))
            for name, info in descriptor.config.model_fields.items() if name != 'kind']))
    parts.append('## Sequence aggregators\n')
    parts.append(_table(('`sequence.aggregator`', 'weights', 'must be trained'), [
        (f'`{name}`', 'yes' if item.learned else 'no', 'yes' if item.trained else 'no')
        for name, item in AGGREGATORS.items(plugins=False).items()]))
    parts.append('## Acceptance rules\n\nIn the order in which they judge a match; a result states '
                 'the reason of the first rule that rejects it.\n')
    parts.append(_table(('rule', 'reason', 'accepts a match if'), [
        (name, f'`{kind.rule.reason.name}`', _first_sentence(kind.rule))
        for name, kind in RULES.items(plugins=False).items()]))
    return '\n'.join(parts)


def python_page() -> str:
    """Return what `import seqnet_ros` offers, from its docstrings."""
    import seqnet_ros

    opening = ('# Python\n\nGenerated from the docstrings of what `import seqnet_ros as sr` '
               'offers; each is imported when it is used. The notebooks show them at work: '
               '[your own images](../notebooks/own_images.md), [two models '
               'compared](../notebooks/compare_models.md).\n')
    parts = [opening]
    for name in seqnet_ros.__all__:
        offered = getattr(seqnet_ros, name)
        parts.append(_documented(f'seqnet_ros.{name}', offered, '##'))
        if inspect.isclass(offered):
            for method, function in inspect.getmembers(offered, inspect.isfunction):
                if not method.startswith('_'):
                    parts.append(_documented(f'{name}.{method}', function, '###'))
    return '\n'.join(parts)


def _documented(name: str, offered: Any, level: str) -> str:
    """Return heading, signature and docstring of a function or class."""
    # Types are in the words of the docstring; names and defaults say how to call it.
    signature = inspect.signature(offered)
    bare = signature.replace(return_annotation=inspect.Signature.empty, parameters=[
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values() if parameter.name != 'self'])
    text = _sections(inspect.getdoc(offered) or '')
    return f'{level} `{name}`\n\n```text\n{name}{bare}\n```\n\n{text}'


def _sections(text: str) -> str:
    """Return a docstring in Google's style as Markdown; its sections become lists."""
    lines, kept = text.splitlines(), []
    in_list = False
    for line in lines:
        title = re.fullmatch(r'(Args|Returns|Raises|Attributes|Yields):', line)
        entry = re.match(r' {4}(\*{0,2}\w+)(?: \([^)]*\))?: (.*)', line)
        if title:
            in_list = title[1] in ('Args', 'Raises', 'Attributes')
            kept += [f'**{title[1]}**', '']
        elif in_list and entry:
            kept.append(f'- `{entry[1]}`: {entry[2]}')
        elif line.startswith(' ' * 8) and in_list:
            kept.append('  ' + line.strip())
        else:
            in_list = in_list and not line
            kept.append(line.strip() if line.startswith('    ') else line)
    return re.sub(r'``([^`]+)``', r'`\1`', '\n'.join(kept)) + '\n'


def notebook_page(path: Path) -> str:
    """Return the cells of a notebook as a page: text, and code."""
    parts = []
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        parts.append(source if cell['cell_type'] == 'markdown' else f'```python\n{source}\n```')
    return '\n\n'.join(parts) + '\n'


def _first_sentence(documented: Any) -> str:
    sentence = (inspect.getdoc(documented) or '').partition('.')[0].removeprefix('Whether ')
    return ' '.join(sentence.split())


def _settings_table(group: Any, prefix: str) -> str:
    return _table(('parameter', 'default', 'when', 'meaning'), [
        (f'`{prefix}{name}`', f'`{_default(info)}`', _when(info), _meaning(info))
        for name, info in group.model_fields.items()])


def _default(info: Any) -> str:
    if info.is_required():
        return 'required'
    value = info.default
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _when(info: Any) -> str:
    extra = info.json_schema_extra
    return str(extra.get('applied', 'configure')) if isinstance(extra, dict) else 'configure'


def _meaning(info: Any) -> str:
    words = info.description or ''
    if get_origin(info.annotation) is Literal:
        words += ' One of: ' + ', '.join(map(str, get_args(info.annotation))) + '.'
    return words


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ['| ' + ' | '.join(header) + ' |', '|' + ' --- |' * len(header)]
    lines += ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in rows]
    return '\n'.join(lines) + '\n'
