"""Files and messages from anyone: mutated ones of every kind, and hostile ones made by hand."""

import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from faults.children import Limits, run_cases
from faults.outcome import ACCEPTED, EXECUTED, NAN, Outcome
from faults.readers import corpus, make_readers
from seqnet_ros.core.camera import camera_from_info
from seqnet_ros.core.images import (
    MAX_MEGAPIXELS,
    RAW_ENCODINGS,
    image_from_compressed,
    image_from_raw,
    read_image,
)
from seqnet_ros.core.poses import check_pose

_LIMITS = Limits(mib=1500, seconds=20)
_FUZZED_MEGAPIXELS = '4'
_BYTES = (0, 1, 2, 4, 8, 16, 64, 127, 128, 254, 255)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Change a few bytes, cut, repeat or insert some: mostly near the beginning."""
    data = bytearray(content or b'\0')
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        near = min(len(data), chance.choice((16, 64, 512, len(data)))) or 1
        at = chance.randrange(near)
        kind = chance.randrange(6)
        if kind < 3 and data:
            data[at] = chance.choice(_BYTES) if kind else chance.randrange(256)
        elif kind == 3:
            del data[chance.randrange(len(data) + 1):]
        elif kind == 4:
            data[at:at] = data[at:at + chance.randrange(1, 40)]
        else:
            size = chance.choice((2, 4, 8))
            data[at:at + size] = (2**chance.randrange(8 * size) - 1).to_bytes(size, chance.choice(
                ('little', 'big')))
        data = data or bytearray(b'\0')
    return bytes(data)


def images(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Decode mutated images of every format, from files and from compressed messages."""
    seeds = corpus('images')
    path = folder / 'image.png'

    def run(case: tuple[int, int]) -> str:
        number, seed = case
        content = mutate(seeds[number], random.Random(seed))
        if seed % 2:
            image = image_from_compressed(content, 'jpeg')
        else:
            path.write_bytes(content)
            image = read_image(path)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        return ACCEPTED

    os.environ[MAX_MEGAPIXELS] = _FUZZED_MEGAPIXELS
    try:
        run_cases([(chance.randrange(len(seeds)), chance.randrange(2**32)) for _ in range(count)],
                  run, outcome, _LIMITS)
    finally:
        del os.environ[MAX_MEGAPIXELS]


def messages(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Convert image, calibration and pose messages with random fields."""
    del folder
    numbers = (0, 1, 2, 3, 7, 64, 4096, 2**16, 2**31 - 1, 2**32 - 1)
    reals = (0.0, 1.0, -1.0, np.nan, np.inf, 1e300, 1e-300, 640.0)

    def run(seed: int) -> str:
        dice = random.Random(seed)
        kind = dice.randrange(3)
        if kind == 0:
            encoding = dice.choice((*RAW_ENCODINGS, '32FC1', 'x' * 5000, '\x1b[2J', ''))
            width, height, step = (
                dice.choice(numbers) if dice.random() < 0.2 else usual for usual in (64, 48, 256))
            image = image_from_raw(bytes(dice.choice((0, 100, 64 * 48, 256 * 48, 256 * 48))),
                                   height, width, encoding, step, dice.random() < 0.5)
            assert image.shape[2] == 3
        elif kind == 1:
            camera = camera_from_info(
                dice.choice((640, *numbers)) if dice.random() < 0.3 else 640, 480,
                dice.choice(('plumb_bob', 'equidistant', '', 'x\0', 'rational_polynomial')),
                [dice.choice(reals) if dice.random() < 0.1 else 0.1
                 for _ in range(dice.choice((0, 4, 5, 8, 9)))],
                [dice.choice(reals) for _ in range(9)] if dice.random() < 0.3 else
                [600.0, 0, 320, 0, 600, 240, 0, 0, 1],
                binning=(dice.choice(numbers[:5]), dice.choice(numbers[:5])),
                roi=tuple(dice.choice(numbers) if dice.random() < 0.1 else 0 for _ in range(4)))
            if not np.isfinite(camera.matrix).all():
                return NAN
        else:
            pose = check_pose([*(dice.choice(reals[:6]) if dice.random() < 0.2 else 1.0
                                 for _ in range(3)), 0.0, 0.0, dice.choice(reals), 1.0], 'pose')
            if not np.isfinite(pose).all():
                return NAN
        return ACCEPTED

    run_cases([chance.randrange(2**32) for _ in range(count)], run, outcome, _LIMITS)


def hostile_files(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Give every reader mutated files, ``count`` in all, and every hostile file made by hand."""
    marker = folder / 'executed'
    readers = make_readers(folder)
    by_hand = _hostile(marker)
    cases: list[tuple[int, bytes | int]] = [
        (number, content) for number in range(len(readers)) for content in by_hand]
    cases += [(number % len(readers), chance.randrange(2**32)) for number in range(count)]

    def run(case: tuple[int, bytes | int]) -> str:
        number, content = case
        reader = readers[number]
        if isinstance(content, int):
            dice = random.Random(content)
            content = mutate(dice.choice(reader.samples), dice)
        path = folder / f'input{reader.suffix}'
        path.write_bytes(content)
        try:
            reader.read(path)
        finally:
            if marker.exists():
                marker.rmdir()
                return EXECUTED  # noqa: B012 - whatever else happened
        return ACCEPTED

    def name(case: tuple[int, bytes | int]) -> str:
        content = case[1]
        which = f'seed {content}' if isinstance(content, int) else f'{content[:24]!r}...'
        return f'{readers[case[0]].name}, {which}'

    os.environ[MAX_MEGAPIXELS] = _FUZZED_MEGAPIXELS
    try:
        run_cases(cases, run, outcome, _LIMITS, name)
    finally:
        del os.environ[MAX_MEGAPIXELS]


class _Execute:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._marker),)


def _hostile(marker: Path) -> list[bytes]:
    """Return files that run code, expand, nest or never end; each is given to every reader."""
    import torch

    call = _Execute(marker)
    executed = pickle.dumps({'state_dict': call}, protocol=2)
    files = [b'', b'\0' * 1000, b'\xff' * 1000, executed, executed[:40]]
    for new in (True, False):
        stream = io.BytesIO()
        torch.save({'state_dict': {'w': torch.ones(2)}, 'x': call}, stream,
                   _use_new_zipfile_serialization=new)
        files.append(stream.getvalue())
    for value in (np.array(call, dtype=object), np.array([call, call], dtype=object)):
        stream = io.BytesIO()
        np.savez(stream, preds=value, recalls=value, args=value)
        files.append(stream.getvalue())
        stream = io.BytesIO()
        np.save(stream, value)
        files.append(stream.getvalue())
    files.append(f'!!python/object/apply:os.mkdir ["{marker}"]\n'.encode())
    aliases = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{name}: &{name} [{", ".join(9 * ["*" + before])}]\n'
        for before, name in zip('abcdefghi', 'bcdefghij', strict=True))
    files += [aliases.encode(), b'[' * 100_000, b'{"a":' * 100_000, b'- ' * 100_000,
              json.dumps({'manifest': {'format_version': 1}, 'files': {}}).encode(),
              b'9' * 100_000, b'&a [*a]', b'a: \x1b]0;x\x07\n']
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('preds.npy', bytes(300 << 20))
        archive.writestr('x/data.pkl', b'\x80\x02}.')
    files.append(bomb.getvalue())
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000)}\n"
    files.append(b'\x93NUMPY\x01\0' + struct.pack('<H', len(header)) + header)
    expanding = zlib.compress(bytes(64 << 20))
    files.append(b' ' * 124 + b'\0\x01IM' + struct.pack('<II', 15, len(expanding)) + expanding)
    files += [b'GIF89a\xff\xff\xff\xff' + bytes(30), b'P6 100000 100000 255\n' + bytes(50),
              b'BM' + struct.pack('<IHHIIiiHHI', 90, 0, 0, 54, 40, 40000, 40000, 1, 24, 0)
              + bytes(40),
              b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' + struct.pack('>II', 30000, 30000)
              + b'\x08\2\0\0\0' + bytes(60)]
    return files
