"""Print the modules of the package that a command passes through, in the order it enters them.

``python tools/modules_entered.py map build images/ --output map`` shows a newcomer which files to
read; docs/architecture.md has the counts of some walks. Module and class bodies do not count: they
run when a module is imported, not because the command needs it.
"""

import inspect
import sys
import threading
from pathlib import Path
from types import FrameType

PACKAGE = 'seqnet_ros'


class ModuleRecorder:
    """Notes the modules of the package whose functions are called."""

    def __init__(self) -> None:
        self.modules: dict[str, None] = {}
        self._known: dict[str, str | None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note the module of a function that is called, as `sys.setprofile` asks."""
        if event == 'call' and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            file = frame.f_code.co_filename
            if file not in self._known:
                self._known[file] = _module_of(file)
            module = self._known[file]
            if module is not None:
                self.modules.setdefault(module)


def _module_of(file: str) -> str | None:
    """Return the module of a file within the package; None for other files."""
    parts = Path(file).with_suffix('').parts
    if PACKAGE not in parts:
        return None
    start = len(parts) - parts[::-1].index(PACKAGE)
    return '.'.join(parts[start:]) or None


def main(arguments: list[str]) -> int:
    """Run a command of seqnet_ros; print the modules it entered, and how many they are."""
    from seqnet_ros.cli.main import main as run_command

    recorder = ModuleRecorder()
    sys.argv = [PACKAGE, *arguments]
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    status = 0
    try:
        run_command()
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    print('\n'.join(recorder.modules))
    print(f'{len(recorder.modules)} modules')
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
