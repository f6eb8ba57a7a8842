"""The example of the Python interface in the documentation, on rendered images."""

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqnet_ros.maps.map_reader import verify_map
from seqnet_town import DAY, DUSK, Camera, Condition, Drive, Town

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'first_map.md'
METERS = 41.0


def render_drive(folder: str, condition: Condition, seed: int) -> Drive:
    """Render a drive through the same streets into a new folder of images."""
    drive = Drive(Town(7, (2, 1)), condition, Camera(96, 72), length=METERS, speed=10.0, seed=seed)
    Path(folder).mkdir()
    for index in range(len(drive)):
        image = cv2.cvtColor(drive.render(index), cv2.COLOR_RGB2BGR)
        cv2.imwrite(f'{folder}/{index}.png', image)
    return drive


@pytest.fixture
def drives(tmp_path, monkeypatch) -> tuple[Drive, Drive]:
    """The drives of the example, whose recordings are in the working directory."""
    monkeypatch.chdir(tmp_path)
    return render_drive('monday', DAY, 1), render_drive('tuesday', DUSK, 2)


def test_the_example_maps_localizes_and_closes_loops(drives, capsys):
    monday, tuesday = drives
    example, = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    exec(compile(example, str(PAGE), 'exec'), {})
    accepted, loops = map(int, capsys.readouterr().out.split())
    assert verify_map(Path('monday.map')).places == len(monday)
    with Path('tuesday-results/matches.csv').open(newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['accepted'] == 'true']
    assert len(rows) == accepted > 0
    errors = [np.linalg.norm(tuesday.poses[int(row['query'])][:2]
                             - monday.poses[int(row['place_id'])][:2]) for row in rows]
    assert max(errors) < 2.0
    # The drive passes no place twice.
    assert loops == 0
    assert len(Path('tuesday-loops/loops.csv').read_text().splitlines()) == 1
