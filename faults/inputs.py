"""Files and messages from anyone: mutated ones of every kind, and hostile ones made by hand."""

import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faults.children import Limits, run_cases
from faults.outcome import ACCEPTED, EXECUTED, NAN, Outcome
from faults.workshop import make_map, picture, small_model
from seqnet_ros.core.camera import camera_from_info, read_camera_info
from seqnet_ros.core.documents import MAX_JSON_BYTES
from seqnet_ros.core.files import read_limited
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
    seeds = _corpus('images')
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


def _corpus(name: str) -> list[bytes]:
    folder = Path(__file__).parents[1] / 'test' / 'corpus' / name
    return [path.read_bytes() for path in sorted(folder.iterdir())]


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


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        name: what it reads, with the ending of its files.
        read: reads a file.
        samples: whole files.
    """

    name: str
    suffix: str
    read: Callable[[Path], object]
    samples: tuple[bytes, ...]


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


def make_readers(folder: Path) -> list[Reader]:
    """Return every reader of files, with whole files as samples."""
    import torch
    from safetensors.torch import save as save_tensors

    from seqnet_ros.cli.train.runs import collect_training_settings
    from seqnet_ros.datasets.csv_tables import read_rows
    from seqnet_ros.datasets.jist.original_caches import read_cache
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.datasets.recordings.pose_files import read_poses
    from seqnet_ros.datasets.seqnet.dataset_files import (
        open_descriptors,
        read_bounds,
        read_names,
        read_results,
        read_splits,
    )
    from seqnet_ros.datasets.seqnet.db_struct import read_struct
    from seqnet_ros.descriptors.weights import read_tensors
    from seqnet_ros.evaluation.metrics.place_ground_truth import read_pairs
    from seqnet_ros.evaluation.metrics.search_metrics import SearchResults
    from seqnet_ros.evaluation.replay.run_files import COLUMNS, read_queries
    from seqnet_ros.evaluation.result_document import read_document
    from seqnet_ros.maps.manifest_file import MANIFEST, parse_manifest_file
    from seqnet_ros.maps.map_archive import export_map, import_map
    from seqnet_ros.maps.map_writer import save_map
    from seqnet_ros.models.place_model import load_preset
    from seqnet_ros.training.seqnet.run import load_run

    place_map = folder / 'sample_map'
    save_map(make_map(small_model()), place_map, overwrite=True, backup=False)
    tensors = {'w': torch.arange(12.0).reshape(3, 4), 'b': torch.ones(2)}
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save({'state_dict': tensors, 'epoch': 3}, zipped)
    torch.save({'state_dict': tensors}, legacy, _use_new_zipfile_serialization=False)
    arrays, array = io.BytesIO(), io.BytesIO()
    np.savez(arrays, preds=np.arange(12).reshape(3, 4), recalls=np.array({1: 0.5}, dtype=object),
             args=np.array({'x': 'y'}, dtype=object))
    np.save(array, np.eye(4, dtype=np.float32))
    model = b'description: x\nimage: {height: 64, width: 64}\nframe: {kind: hog, cell: 16}\n'
    camera = (b'image_width: 640\nimage_height: 480\ndistortion_model: plumb_bob\n'
              b'camera_matrix: {data: [600, 0, 320, 0, 600, 240, 0, 0, 1]}\n'
              b'distortion_coefficients: {data: [0, 0, 0, 0, 0]}\n')

    def walk(path: Path) -> None:
        for frame in open_source(path):
            frame.read()

    timed, run = folder / 'timed', folder / 'run'
    for one in (timed, run):
        one.mkdir(exist_ok=True)
    for number in range(2):
        cv2.imwrite(str(timed / f'{number}.png'), picture(number))
    archive = folder / 'sample.zip'
    archive.unlink(missing_ok=True)
    export_map(place_map, archive, with_weights=False)

    def walk_timed(path: Path) -> None:
        link(path, timed / 'times.txt')
        walk(timed)

    def read_run(path: Path) -> None:
        link(path, run / 'queries.csv')
        read_queries(run)

    def link(path: Path, target: Path) -> None:
        target.unlink(missing_ok=True)
        target.symlink_to(path)

    return [
        Reader('image', '.png', read_image, tuple(_corpus('images'))),
        Reader('model file', '.yaml', load_preset, (model,)),
        Reader('recipe', '.yaml', lambda path: collect_training_settings(path, None, {}),
               (b'epochs: 3\nlr: 0.1\nnested: {a: [1, 2]}\n',)),
        Reader('calibration', '.yaml', read_camera_info, (camera,)),
        Reader('manifest', '.json', lambda path: parse_manifest_file(
            read_limited(path, MAX_JSON_BYTES), 'map'),
               ((place_map / MANIFEST).read_bytes(),)),
        Reader('results', '.npz', read_results, (arrays.getvalue(),)),
        Reader('descriptors', '.npy', open_descriptors, (array.getvalue(),)),
        Reader('struct', '.db', read_struct, tuple(_corpus('structs'))),
        Reader('weights', '.pth', read_tensors,
               (zipped.getvalue(), legacy.getvalue(), save_tensors(tensors))),
        Reader('cache of original code', '.torch', read_cache, (zipped.getvalue(),)),
        Reader('SeqNet run', '.pth.tar', load_run, (zipped.getvalue(),)),
        Reader('poses', '.txt', read_poses,
               (b'0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n', b'1 0 0 0 0 1 0 0 0 0 1 0\n' * 2,
                b'stamp,x,y\n1,2,3\n2,3,4\n', b'time,latitude,longitude\n0,48,9\n1,48.1,9.1\n')),
        Reader('pairs', '.csv', lambda path: read_pairs(path, ['a', 'b'], ['c', 'd']),
               (b'query,map\na,c\n1,1\n',)),
        Reader('table', '.csv', lambda path: list(read_rows(path, ('key', 'lat'))),
               (b'key,lat,lon\na,48,9\nb,49,10\n',)),
        Reader('bounds', '.txt', read_bounds, (b'0 2\n0 2\n2 3\n',)),
        Reader('names', '.txt', read_names, (b'a/1.png\na/2.png\n',)),
        Reader('splits', '.npz', read_splits, (arrays.getvalue(),)),
        Reader('times of images', '.txt', walk_timed, (b'0.5\n1.5\n', b'#time,name\n1,0.png\n')),
        Reader('queries of an evaluation', '.csv', read_run, (
            ','.join(COLUMNS).encode() + b'\n' + b'1,' * len(COLUMNS) + b'\n',)),
        Reader('result document', '.json', lambda path: read_document(
            path, SearchResults, 'a result'), (
            b'{"method": "single", "recall": {"1": 0.5}, "queries": 4, "unmatched": 0}',)),
        Reader('archive of a map', '.zip', lambda path: import_map(
            path, folder / 'imported', overwrite=True, backup=False), (archive.read_bytes(),)),
        *(Reader(f'recording {suffix}', suffix, walk, (content,))
          for suffix, content in _recordings(folder).items()),
    ]


def _recordings(folder: Path) -> dict[str, bytes]:
    """Return a small bag of each kind and a video."""
    from rosbags.rosbag1 import Writer as Ros1Writer
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    found = {}
    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    jpeg = np.frombuffer(cv2.imencode('.jpg', picture(0))[1].tobytes(), np.uint8)

    def make(kinds: Any, header: Any) -> Any:
        return kinds['sensor_msgs/msg/CompressedImage'](header=header, format='jpeg', data=jpeg)

    for suffix, plugin in (('.mcap', StoragePlugin.MCAP), ('.db3', StoragePlugin.SQLITE3)):
        path = folder / f'bag{suffix[1:]}'
        shutil.rmtree(path, ignore_errors=True)
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            topic = writer.add_connection('/image', 'sensor_msgs/msg/CompressedImage',
                                          typestore=store)
            for number in range(3):
                stamp = kinds['builtin_interfaces/msg/Time'](sec=number + 1, nanosec=0)
                header = kinds['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')
                writer.write(topic, (number + 1) * 10**9,
                             store.serialize_cdr(make(kinds, header), topic.msgtype))
        found[suffix] = next(path.glob(f'*{suffix}')).read_bytes()
    ros1 = get_typestore(Stores.ROS1_NOETIC)
    path = folder / 'sample.bag'
    path.unlink(missing_ok=True)
    with Ros1Writer(path) as writer:
        topic = writer.add_connection('/image', 'sensor_msgs/msg/CompressedImage', typestore=ros1)
        for number in range(3):
            stamp = ros1.types['builtin_interfaces/msg/Time'](sec=number + 1, nanosec=0)
            header = ros1.types['std_msgs/msg/Header'](seq=0, stamp=stamp, frame_id='camera')
            writer.write(topic, (number + 1) * 10**9,
                         ros1.serialize_ros1(make(ros1.types, header), topic.msgtype))
    found['.bag'] = path.read_bytes()
    video = folder / 'sample.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 64))
    for number in range(4):
        writer.write(picture(number))
    writer.release()
    found['.avi'] = video.read_bytes()
    return found


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
