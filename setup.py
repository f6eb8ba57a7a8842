"""Install the data files beside the package; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup


def data_files() -> list[tuple[str, list[str]]]:
    """Return (directory below the prefix, files) for everything that goes to share/seqnet_ros."""
    share = Path('share/seqnet_ros')
    files: dict[str, list[str]] = {str(share): ['package.xml']}
    for folder in ('config', 'launch', 'models'):
        for path in sorted(Path(folder).rglob('*')):
            if path.is_file() and '__pycache__' not in path.parts:
                files.setdefault(str(share / path.parent), []).append(str(path))
    return list(files.items())


setup(data_files=data_files())
