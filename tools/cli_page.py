"""Write ``docs/cli.md``: an introduction, then every command with its arguments and options.

Names, help, types, ranges and defaults are those that ``--help`` shows; the introduction is
``cli_page.md`` beside this file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from pydantic.fields import FieldInfo

from seqnet_ros.cli.main import app
from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.engine import setting_fields
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.training.cosplace.config import CosPlaceTrainingConfig
from seqnet_ros.training.jist.config import JistTrainingConfig
from seqnet_ros.training.seqnet.config import SeqNetTrainingConfig

ROOT = Path(__file__).resolve().parent.parent
PAGE, INTRODUCTION = ROOT / 'docs' / 'cli.md', ROOT / 'tools' / 'cli_page.md'
_TRAINING_SETTINGS = {
    'train seqnet': SeqNetTrainingConfig, 'train jist': JistTrainingConfig,
    'train cosplace': CosPlaceTrainingConfig}
_TYPES = ((bool, 'flag'), (int, 'integer'), (float, 'number'), (Path, 'path'), (str, 'text'))
_ENGINE = ('`--set SETTING=VALUE` sets any of these and can be repeated; an option for the setting '
           'takes precedence. A setting of `geometry` turns the geometric check on. What a '
           'descriptor means, such as its image size, is set in a model file.\n')
_TILES = ('`localize` and `evaluate bags` also take settings of [collections](collections.md) and '
          'of [maps on a server](scale.md).\n')
# Help of a parameter, then what --help adds to it, such as [default: 1; x>=0].
_HELP = re.compile(
    r'(?P<help>.*?)(?:  \[(?:default: (?P<default>.*?))?(?:; )?'
    r'(?P<range>[\d.]*<?=?x[<>=\d.]+)?(?:(?:; )?required)?\])?', re.DOTALL)


def cli_page() -> str:
    """Return the page of the command line."""
    parts = [INTRODUCTION.read_text(encoding='utf-8')]
    for path, command in commands(typer.main.get_command(app)):
        parts += _command_section(path, command)
    parts += ['## Settings\n', _ENGINE, _settings_table(setting_fields()), _TILES]
    for section, kind in (('collection', CollectionConfig), ('fleet', FleetConfig)):
        parts.append(_settings_table(
            {f'{section}.{name}': info for name, info in kind.model_fields.items()}))
    return '\n'.join(parts)


def commands(group: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Return the words and the object of every command below a group."""
    for name, command in group.commands.items():
        words = f'{path} {name}'.strip()
        below = getattr(command, 'commands', None)
        if below is None or command.invoke_without_command:
            yield words, command
        if below is not None:
            yield from commands(command, words)


def _command_section(path: str, command: Any) -> list[str]:
    context = command.context_class(command, info_name=path)
    hints = get_type_hints(inspect.unwrap(command.callback))
    shown = [parameter for parameter in command.params
             if not getattr(parameter, 'hidden', False) and parameter.name != 'help']
    rows = [_row(parameter, hints[parameter.name], context) for parameter in shown]
    parts = [f'## `{_usage(path, shown)}`\n',
             inspect.cleandoc(command.help or '') + '\n']
    if rows:
        parts.append(_table(('argument or option', 'type', 'default', 'meaning'), rows))
    if path in _TRAINING_SETTINGS:
        parts.append(_settings_table(_TRAINING_SETTINGS[path].model_fields))
    return parts


def _usage(path: str, parameters: list[Any]) -> str:
    """Return a command with its required arguments and options."""
    words = [_argument(one) if one.param_type_name == 'argument'
             else f'{one.opts[0]} {one.name.upper()}' for one in parameters if one.required]
    return ' '.join(['seqnet_ros', path, *words])


def _row(parameter: Any, hint: Any, context: Any) -> tuple[str, ...]:
    if parameter.param_type_name == 'argument':
        names = [_argument(parameter)]
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
    match = _HELP.fullmatch(parameter.get_help_record(context)[1])
    assert match is not None
    default = 'required' if parameter.required else (match['default'] or '')
    return (', '.join(f'`{name}`' for name in names),
            _type(hint) + (f', `{match["range"]}`' if match['range'] else ''),
            re.sub(r'^\((.*)\)$', r'\1', default), match['help'])


def _argument(parameter: Any) -> str:
    return parameter.name.upper() + (' ...' if parameter.nargs == -1 else '')


def _type(hint: Any) -> str:
    """Return the type of a parameter in words; an optional one is that of its value."""
    inner = [one for one in get_args(hint) if one is not type(None)]
    if getattr(hint, '__origin__', None) is tuple:
        return ' '.join(map(_type, inner))
    if inner:
        return _type(inner[0])
    return next(name for kind, name in _TYPES if issubclass(hint, kind))


def _settings_table(fields: Mapping[str, FieldInfo]) -> str:
    return _table(('setting', 'default', 'meaning'), [
        (f'`{name}`', str(info.default).lower(), info.description or '')
        for name, info in fields.items()])


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ['| ' + ' | '.join(header) + ' |', '|' + ' --- |' * len(header)]
    lines += ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in rows]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    PAGE.write_text(cli_page(), encoding='utf-8')
