"""Record of the options of a training, stored in its run folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqnet_ros.core.files import whole_file

RECORD = 'training.json'


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Store the options of a training in a folder that may not exist yet.

    Args:
        folder: of the run.
        record: the options, as JSON values.

    Raises:
        InputError: it cannot be written.
    """
    with whole_file(folder / RECORD) as file:
        file.write((json.dumps(record, indent=1) + '\n').encode())
