"""Data of JIST for several tests: the trees that the published code was run on, MSLS, RobotCar."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seqnet_ros.datasets.sequence_folders import (
    SIDES,
    FrameTable,
    Sequences,
    make_sequences,
    read_frames,
)

TREES = ('msls_train', 'msls_test', 'robotcar_test', 'robotcar_train')


def read_tree(golden: Path, tree: str) -> dict[str, Any]:
    return json.loads((golden / 'jist' / 'sequences' / f'{tree}.json').read_text())


def make_tree(root: Path, files: dict[str, list[str]]) -> Path:
    for paths in files.values():
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    return root


def sequences_of(root: Path, case: dict[str, Any], compat: bool) -> tuple[Sequences, Sequences]:
    """Return database and queries of a case; the published code reverses the database only."""
    cities = [case['city']] if case.get('city') else []
    database, queries = (
        make_sequences(read_frames(root, side, cities, compat), case['seq_length'],
                       case['reverse'] and side == 'database', compat)
        for side in SIDES)
    return database, queries


def paths_of(sequences: Sequences) -> list[list[str]]:
    return [[sequences.frames.paths[row] for row in window]
            for window in sequences.windows.tolist()]


def table_of(positions: np.ndarray, numbers: np.ndarray, folders: np.ndarray,
             cities: tuple[str, ...] = ()) -> FrameTable:
    """Return a table without files."""
    names = tuple(f's{folder:04d}' for folder in range(int(folders.max()) + 1))
    return FrameTable(
        Path('tree'), tuple(f'database/{names[folder]}/{row}.jpg'
                            for row, folder in enumerate(folders.tolist())),
        np.asarray(positions, float), np.asarray(numbers), np.asarray(folders), names,
        cities or ('',) * len(names))


def write_msls(root: Path, city: str, side: str, rows: list[tuple], latitude: float) -> None:
    """Write the official csv files and images; a row is key, sequence, number, metres north."""
    folder = root / 'train_val' / city / side
    (folder / 'images').mkdir(parents=True)
    raw, info = [',key,lon,lat,ca,captured_at,pano'], [',key,sequence_key,frame_number']
    for index, (key, sequence, number, metres, pano) in enumerate(rows):
        raw.append(f'{index},{key},12.5,{latitude + metres / 111_111:.9f},0.0,2018-08-17,{pano}')
        info.append(f'{index},{key},{sequence},{number}')
        cv2.imwrite(str(folder / 'images' / f'{key}.jpg'), np.full((4, 6, 3), index, np.uint8))
    (folder / 'raw.csv').write_text('\n'.join(raw) + '\n')
    (folder / 'seq_info.csv').write_text('\n'.join(info) + '\n')


def write_lap_files(folder: Path, stamps: list[int], positions: dict[int, tuple]) -> Path:
    (folder / 'left').mkdir(parents=True)
    for stamp in stamps:
        mosaic = np.tile(np.array([[40, 60], [200, 40]], np.uint8), (8, 8))
        cv2.imwrite(str(folder / 'left' / f'{stamp}.png'), mosaic)
    rows = [f'{stamp},51.7,-1.2,{north},{east}' for stamp, (north, east) in positions.items()]
    (folder / 'rtk.csv').write_text('\n'.join(
        ['timestamp,latitude,longitude,northing,easting', *rows]) + '\n')
    return folder
