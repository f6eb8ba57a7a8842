"""The search for import cycles: there is none, and one would be found."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def import_cycles() -> ModuleType:
    """The tool as a module."""
    spec = spec_from_file_location('import_cycles', ROOT / 'tools' / 'import_cycles.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_no_import_cycle(import_cycles):
    assert {'seqnet_ros', 'benchmarks', 'demo', 'soak'} <= set(import_cycles.find_modules(ROOT))
    assert import_cycles.find_cycle() == []


@pytest.mark.parametrize('files', [
    {'a/__init__.py': '', 'a/b.py': 'from a import c', 'a/c.py': 'def f():\n    import a.b'},
    {'a/__init__.py': 'from a.b import x', 'a/b.py': 'from a import c', 'a/c.py': 'import a'},
    {'tools/b.py': 'import c', 'tools/c.py': 'from b import x'},
])
def test_a_cycle_is_found(import_cycles, tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    cycle = import_cycles.find_cycle(tmp_path)
    assert len(cycle) > 2
    assert cycle[0] == cycle[-1]


def test_imports_in_one_direction_are_no_cycle(import_cycles, tmp_path):
    (tmp_path / 'a').mkdir()
    for name, text in {'__init__': '', 'b': 'from a import c', 'c': 'import os'}.items():
        (tmp_path / 'a' / f'{name}.py').write_text(text)
    assert import_cycles.find_cycle(tmp_path) == []
