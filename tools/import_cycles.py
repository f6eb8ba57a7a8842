"""Find import cycles anywhere in the repository: ``python tools/import_cycles.py``.

import-linter holds the layers of the package; this looks at every Python file beside it as well,
and at imports inside functions.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Folders that are no packages: their files are imported by their bare names.
_SCRIPTS = ('test', 'test/fixtures', 'tools')


def find_modules(root: Path) -> dict[str, Path]:
    """Return the importable modules below `root` by their dotted names."""
    found = {path.stem: path
             for folder in _SCRIPTS for path in sorted((root / folder).glob('*.py'))}
    for package in sorted(path.parent for path in root.glob('*/__init__.py')):
        for path in sorted(package.rglob('*.py')):
            parts = path.relative_to(root).with_suffix('').parts
            found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imported_modules(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return which of `modules` a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f'{node.module}.{alias.name}'
                names.add(full if full in modules else node.module)
    return {name for name in names if name in modules and modules[name] != path}


def find_cycle(root: Path = ROOT) -> list[str]:
    """Return the modules of one import cycle, the first one also as the last; empty without one."""
    modules = find_modules(root)
    graph = {name: imported_modules(path, modules) for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def main() -> int:
    """Report a cycle; return the exit status."""
    cycle = find_cycle()
    if cycle:
        print(f'Import cycle: {" -> ".join(cycle)}', file=sys.stderr)
    return 1 if cycle else 0


if __name__ == '__main__':
    sys.exit(main())
