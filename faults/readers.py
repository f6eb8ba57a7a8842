"""Every reader of files of the package, with whole files as samples."""

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from faults.workshop import make_map, picture, small_model
from seqnet_ros.core.camera import read_camera_info
from seqnet_ros.core.documents import MAX_JSON_BYTES
from seqnet_ros.core.files import read_limited
from seqnet_ros.core.images import read_image


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
    from seqnet_ros.evaluation.metrics.ground_truth_files import read_ground_truth
    from seqnet_ros.evaluation.metrics.place_ground_truth import read_pairs
    from seqnet_ros.evaluation.metrics.search_metrics import SearchResults
    from seqnet_ros.evaluation.replay.belief_history import (
        BELIEF,
        BeliefRecorder,
        read_belief,
        write_belief,
    )
    from seqnet_ros.evaluation.replay.run_files import COLUMNS, read_queries
    from seqnet_ros.evaluation.result_document import read_document
    from seqnet_ros.maps.collection.collection_file import COLLECTION, parse_collection
    from seqnet_ros.maps.collection.creation import create_collection
    from seqnet_ros.maps.fleet.directory import StoredFile, TileEntry, parse_entry
    from seqnet_ros.maps.manifest_file import MANIFEST, parse_manifest_file
    from seqnet_ros.maps.map_archive import export_map, import_map
    from seqnet_ros.maps.map_part import RecordingPath, read_part, write_part
    from seqnet_ros.maps.map_writer import save_map
    from seqnet_ros.models.place_model import load_preset
    from seqnet_ros.pipelines.shards import Shard, observe_shard
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
    true_places = io.BytesIO()
    np.savez(true_places, GT=np.eye(3, 4, dtype=bool))
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

    recorder = BeliefRecorder()
    for number in range(9):
        recorder.add(np.eye(9)[number])
    write_belief(run, recorder.history())
    belief = (run / BELIEF).read_bytes()
    part = folder / 'part.npz'
    write_part(observe_shard(RecordingPath(path=str(timed), folder='', rate=1.0), Shard(1, 1),
                             small_model(), keep_images=True), part)
    tiles = create_collection(folder, [place_map], areas={}, overwrite=True).tiles
    stored = StoredFile(bytes=1, sha256='0' * 64)
    entry = TileEntry(version=1, tile=tiles[0], session='', model='small', fingerprint='x', dim=8,
                      sequence_length=5, spacing='2m', archive=stored, rows=stored, axes=stored,
                      store='')

    def read_belief_of_run(path: Path) -> None:
        link(path, run / BELIEF)
        read_belief(run)

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
        Reader('image', '.png', read_image, tuple(corpus('images'))),
        Reader('model file', '.yaml', load_preset, (model,)),
        Reader('recipe', '.yaml', lambda path: collect_training_settings(path, None, {}),
               (b'epochs: 3\nlr: 0.1\nnested: {a: [1, 2]}\n',)),
        Reader('calibration', '.yaml', read_camera_info, (camera,)),
        Reader('manifest', '.json', lambda path: parse_manifest_file(
            read_limited(path, MAX_JSON_BYTES), 'map'),
               ((place_map / MANIFEST).read_bytes(),)),
        Reader('results', '.npz', read_results, (arrays.getvalue(),)),
        Reader('descriptors', '.npy', open_descriptors, (array.getvalue(),)),
        Reader('struct', '.db', read_struct, tuple(corpus('structs'))),
        Reader('weights', '.pth', read_tensors,
               (zipped.getvalue(), legacy.getvalue(), save_tensors(tensors))),
        Reader('cache of original code', '.torch', read_cache, (zipped.getvalue(),)),
        Reader('SeqNet run', '.pth.tar', load_run, (zipped.getvalue(),)),
        Reader('poses', '.txt', read_poses,
               (b'0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n', b'1 0 0 0 0 1 0 0 0 0 1 0\n' * 2,
                b'stamp,x,y\n1,2,3\n2,3,4\n', b'time,latitude,longitude\n0,48,9\n1,48.1,9.1\n')),
        Reader('pairs', '.csv', lambda path: read_pairs(path, ['a', 'b'], ['c', 'd']),
               (b'query,map\na,c\n1,1\n',)),
        Reader('true places', '.npz', lambda path: read_ground_truth(path, 3, 4),
               (arrays.getvalue(), true_places.getvalue())),
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
        Reader('belief of an evaluation', '.npz', read_belief_of_run, (belief,)),
        Reader('part of a map', '.npz', read_part, (part.read_bytes(),)),
        Reader('collection', '.json', lambda path: parse_collection(
            read_limited(path, MAX_JSON_BYTES), path), ((folder / COLLECTION).read_bytes(),)),
        Reader('tile of a fleet', '.json', lambda path: parse_entry(
            read_limited(path, MAX_JSON_BYTES).decode(errors='replace'), 'the server'),
               (entry.to_text().encode(),)),
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


def corpus(name: str) -> list[bytes]:
    """Return the small files of a folder of ``test/corpus``."""
    folder = Path(__file__).parents[1] / 'test' / 'corpus' / name
    return [path.read_bytes() for path in sorted(folder.iterdir())]
