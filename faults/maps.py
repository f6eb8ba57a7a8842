"""Maps that were corrupted, by accident or on purpose, and maps that change while they are open."""

import io
import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from faults.children import Limits, run_cases
from faults.outcome import ACCEPTED, HALF, NAN, REFUSED, WRONG, Outcome
from faults.workshop import link_tree, make_map, picture, replace_file, small_model
from seqnet_ros.core.errors import MapChangedError, MapError, ResultError
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.manifest_file import MANIFEST, document_digest
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel

LARGE_PLACES = 28_000
"""Places of a map above 64 MiB, which is memory-mapped."""
_LIMITS = Limits(mib=700, seconds=60)
_NUMBERS = (np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, -1.0, 2.0**63)
_IMAGES = 8


def corrupt(folder: Path, chance: random.Random) -> str:
    """Damage a file of a map as disks and copies do; return what was done."""
    path = chance.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    kind = chance.choice(('flip', 'flip', 'zero', 'cut', 'grow', 'empty', 'gone', 'other', 'pipe'))
    at = chance.randrange(len(content))
    if kind == 'flip':
        content[at] ^= 1 << chance.randrange(8)
    elif kind == 'zero':
        length = min(chance.choice((1, 512, 4096)), len(content) - at)
        if not any(content[at:at + length]):
            content[at] = 1
        else:
            content[at:at + length] = bytes(length)
    elif kind == 'cut':
        del content[at:]
    elif kind == 'grow':
        content += bytes(chance.randrange(1, 5000))
    elif kind == 'empty':
        content.clear()
    elif kind == 'other':
        other = chance.choice([one for one in sorted(folder.iterdir()) if one != path])
        content = bytearray(other.read_bytes())
    path.unlink()
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind != 'gone':
        path.write_bytes(bytes(content))
    return f'{kind} {path.name} at {at}'


def forge(folder: Path, chance: random.Random) -> str:
    """Change a map, and make its checksums fit; return what was done."""
    document = json.loads((folder / MANIFEST).read_bytes())
    arrays = sorted(path for path in folder.iterdir() if path.suffix == '.npy')
    kind = chance.choice(('value', 'value', 'value', 'rows', 'header', 'byte', 'manifest', 'type'))
    path = chance.choice(arrays)
    if kind == 'manifest':
        what = _change_value(document['manifest'], chance)
    elif kind in ('header', 'byte'):
        content = bytearray(path.read_bytes())
        at = chance.randrange(128 if kind == 'header' else len(content))
        content[at] = chance.randrange(256)
        replace_file(path, bytes(content))
        what = f'byte {at} of {path.name}'
    else:
        what = f'{kind} of {path.name}: {_change_array(path, kind, chance)}'
    for name in list(document['files']):
        if (folder / name).is_file():
            document['files'][name] = FileRecord.of_file(folder / name).to_document()
    try:
        document['sha256'] = document_digest(document)
        content = json.dumps(document).encode()
    except ValueError:
        content = b'{}'
    replace_file(folder / MANIFEST, content)
    return what


def _change_array(path: Path, kind: str, chance: random.Random) -> str:
    array = np.load(path)
    if kind == 'rows':
        array = array[:chance.randrange(len(array))] if chance.random() < 0.5 else np.concatenate(
            [array, array[:chance.randrange(1, len(array) + 1)]])
    elif kind == 'type':
        with np.errstate(all='ignore'):
            array = array.astype(chance.choice(('f2', 'f8', 'i4', 'u1', 'c8', 'S8', '>f4')))
    elif array.size:
        flat = array.reshape(-1)
        at, value = chance.randrange(flat.size), chance.choice(_NUMBERS)
        with np.errstate(all='ignore'):
            flat[at] = value if array.dtype.kind == 'f' else chance.choice((-1, 2**31 - 1, 0, 7))
        found = flat[at]
        replace_file(path, _npy(array))
        return f'{found} at {at}'
    replace_file(path, _npy(array))
    return f'{array.dtype} {array.shape}'


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _change_value(document: Any, chance: random.Random) -> str:
    """Change a value anywhere in a JSON document."""
    where = []
    while isinstance(document, (dict, list)) and document:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        key = chance.choice(keys)
        where.append(str(key))
        if not isinstance(document[key], (dict, list)) or not document[key]:
            document[key] = chance.choice((
                None, -1, 0, 10**9, 10**400, 1e308, 'x', '\x1b[2J', 'x' * 10_000, [], {}, True,
                [[[]]], '../../etc', 'file:///etc/passwd'))
            break
        document = document[key]
    return f'manifest {".".join(where)}'


class Opener:
    """Opens a map and localizes images in it; says how that ended."""

    def __init__(self, model: PlaceModel, original: Path, verify: bool) -> None:
        self._model, self._verify = model, verify
        found = open_map(original, model)
        self._expected = {name: np.array(array) for name, array in found.arrays().items()} \
            if found.integrity is None else None
        self._images = [picture(seed) for seed in range(_IMAGES)]

    def untouched(self, folder: Path) -> str:
        """Open a map whose checksums were not made to fit: only the original may be accepted."""
        found = open_map(folder, self._model, verify=self._verify)
        same = self._expected is None or all(
            np.array_equal(found.arrays()[name], array) for name, array in self._expected.items())
        self._localize(found)
        return ACCEPTED if same and self._expected is not None else HALF

    def forged(self, folder: Path) -> str:
        """Open a map that anyone may have made: whatever is accepted gives possible results."""
        found = open_map(folder, self._model, verify=self._verify)
        return self._localize(found)

    def _localize(self, place_map: Any) -> str:
        localizer = _localizer(self._model, place_map)
        for number, image in enumerate(self._images):
            try:
                result = localizer.push(image, 10**9 * (number + 1), None)
            except ResultError:
                return REFUSED
            if result is None or result.best is None:
                continue
            best = result.best
            numbers = (best.score, best.descriptor_distance, best.sequence_distance, *best.pose)
            if result.accepted and not np.isfinite(numbers).all():
                return NAN
            if not 0 <= best.place_id < len(place_map):
                return WRONG
        return ACCEPTED


def _localizer(model: PlaceModel, place_map: PlaceMap) -> Localizer:
    """Return a localizer that searches the map for every image."""
    engine = place_map.manifest.preset.with_settings({'keyframes.every': '1'}).engine
    return Localizer(model, place_map, engine)


def damaged(outcome: Outcome, folder: Path, chance: random.Random, count: int,
            large: bool = False, with_checksums: bool = False) -> None:
    """Damage ``count`` maps, open each and localize in it."""
    model = small_model()
    original = folder / 'original'
    save_map(make_map(model, places=LARGE_PLACES) if large else make_map(model), original)
    opener = Opener(model, original, verify=True)

    def run(seed: int) -> str:
        case = link_tree(original, folder / 'case')
        try:
            dice = random.Random(seed)
            (forge if with_checksums else corrupt)(case, dice)
            return (opener.forged if with_checksums else opener.untouched)(case)
        finally:
            shutil.rmtree(case, ignore_errors=True)

    def name(seed: int) -> str:
        case = link_tree(original, folder / 'named')
        try:
            return (forge if with_checksums else corrupt)(case, random.Random(seed))
        finally:
            shutil.rmtree(case, ignore_errors=True)

    seeds = [chance.randrange(2**32) for _ in range(count)]
    run_cases(seeds, run, outcome, _LIMITS, lambda seed: f'seed {seed}')
    for ending, examples in outcome.examples.items():
        for number, example in enumerate(examples):
            seed = int(example.split()[1].rstrip(':'))
            outcome.examples[ending][number] = f'{name(seed)}: {example}'


def changed_while_open(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Cut or overwrite a file of a large map while a process searches it."""
    model = small_model()
    original = folder / 'original'
    save_map(make_map(model, places=LARGE_PLACES), original)
    images = [picture(seed) for seed in range(_IMAGES)]

    def run(seed: int) -> str:
        dice = random.Random(seed)
        case = folder / 'case'
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(original, case)
        path = case / dice.choice(('frames.npy', 'sequences.npy'))
        localizer = _localizer(model, open_map(case, model))
        writer = os.fork()
        if writer == 0:
            time.sleep(dice.uniform(0, 0.3))
            if dice.random() < 0.5:
                os.truncate(path, dice.randrange(path.stat().st_size))
            else:
                path.write_bytes(original.joinpath('frames.npy').read_bytes()[::-1])
            os._exit(0)
        try:
            for number in range(200):
                localizer.push(images[number % _IMAGES], 10**9 * (number + 1), None)
                if os.waitpid(writer, os.WNOHANG)[0]:
                    writer = 0
                    localizer.push(images[0], 10**9 * (number + 2), None)
                    return WRONG
        except MapChangedError:
            return REFUSED
        except MapError:
            return REFUSED
        finally:
            if writer:
                os.waitpid(writer, 0)
        return WRONG

    run_cases([chance.randrange(2**32) for _ in range(count)], run, outcome, Limits(1500, 60),
              lambda seed: f'seed {seed}')

