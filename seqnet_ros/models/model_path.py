"""Where model files are found by name.

In this order: the folders of ``SEQNET_ROS_MODEL_PATH``, the models of this package, and the
packages that entry points of the group ``seqnet_ros.models`` name. Of two models with the same
name, the first is used.
"""

import os
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from seqnet_ros.core.errors import PluginError

MODEL_PATH = 'SEQNET_ROS_MODEL_PATH'
"""Environment variable with the user's own folders of model files, separated as in ``PATH``."""
MODELS = 'seqnet_ros.models'
"""The group of entry points that name packages whose folders contain model files."""

_SOURCE_MODELS = Path(__file__).parents[2] / 'models'


def find_named_model(name: str) -> Path | None:
    """Return the file of a model; None if there is none.

    Raises:
        PluginError: an entry point names a package that is not installed.
    """
    if Path(name).name != name:
        return None
    files = (folder / f'{name}.yaml' for folder in _model_folders())
    return next((file for file in files if file.is_file()), None)


def named_models() -> dict[str, Path]:
    """Return the files of all models by name.

    Raises:
        PluginError: an entry point names a package that is not installed.
    """
    found: dict[str, Path] = {}
    for folder in _model_folders():
        for path in sorted(folder.glob('*.yaml')):
            found.setdefault(path.stem, path)
    return found


def _model_folders() -> Iterator[Path]:
    for folder in filter(None, os.environ.get(MODEL_PATH, '').split(os.pathsep)):
        yield Path(folder).expanduser()
    # In an installed tree the neighbor `models` belongs to another package, if it exists.
    if (_SOURCE_MODELS / 'hog.yaml').is_file():
        yield _SOURCE_MODELS
    prefixes = [sys.prefix, *os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)]
    for prefix in filter(None, prefixes):
        yield Path(prefix) / 'share' / 'seqnet_ros' / 'models'
    for plugin in entry_points(group=MODELS):
        try:
            spec = find_spec(plugin.value)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(f'the models {plugin.name!r} are in the package {plugin.value!r}, '
                              'which is not installed; correct or uninstall its plugin')
        yield from map(Path, spec.submodule_search_locations)
