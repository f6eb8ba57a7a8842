"""Shards of a recording, and the frames that a recording has beyond those it states."""

from pathlib import Path

import numpy as np
import pytest
from curved_road import images, record
from streets import Street, small_model

from seqnet_ros.core.errors import InputError, MapModelMismatchError
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.datasets.recordings.rosbag import BagSource
from seqnet_ros.maps.map_part import RecordingPath, read_part, write_part
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.pipelines.map_recording import map_recording
from seqnet_ros.pipelines.shards import Shard, merge_parts, observe_shard

WAYS_M = np.arange(0.0, 40.0, 0.5)


@pytest.mark.parametrize('total', [0, 1, 5, 100, 101])
@pytest.mark.parametrize('count', [1, 2, 7, 120])
def test_every_frame_is_in_one_share(total, count):
    shards = [Shard(number, count).frames(total) for number in range(1, count + 1)]
    assert [frame for shard in shards for frame in shard] == list(range(total))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_shard_is_read_as_it_is_written():
    assert Shard.parse('3/8') == Shard(3, 8)
    assert str(Shard.parse('3/8')) == '3/8'
    for text in ('', '8', '9/8', '0/8', '-1/8', '3/8/9', '3 / 8'):
        with pytest.raises(InputError, match='is invalid, expected one like'):
            Shard.parse(text)


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp('bags') / 'drive', Street(1, 60), WAYS_M)


def parts_of(bag: Path, folder: Path, count: int, **settings: object) -> list[Path]:
    paths = []
    for number in range(1, count + 1):
        part = observe_shard(RecordingPath(path=str(bag), folder=''), Shard(number, count),
                             small_model(**settings))
        paths.append(folder / f'{number}.npz')
        write_part(part, paths[-1])
    return paths


@pytest.mark.parametrize('stated', [50, 80, 200])
def test_a_recording_may_state_too_few_or_too_many_frames(stated, bag, tmp_path, monkeypatch):
    whole = map_recording(open_source(bag), Mapper(small_model())).place_map
    assert len(open_source(bag)) == len(WAYS_M) == 80
    # As a bag or a video does whose index is wrong.
    monkeypatch.setattr(BagSource, '__len__', lambda source: stated)
    merged = merge_parts(parts_of(bag, tmp_path, 3), lambda manifest: small_model())
    assert merged.place_map.manifest == whole.manifest
    np.testing.assert_array_equal(merged.place_map.frames, whole.frames)


def test_a_part_is_read_as_it_was_written(bag, tmp_path):
    path = parts_of(bag, tmp_path, 2)[1]
    part = read_part(path)
    assert part.manifest.shard == 2
    assert part.manifest.first == 40
    expected = [pose for _, _, pose in images(Street(1, 60), WAYS_M)][40:]
    np.testing.assert_allclose(part.poses, expected, atol=1e-9)
    first = int(part.frames[0])
    seen = part.observation(first)
    assert seen is not None
    np.testing.assert_array_equal(seen.descriptor, part.descriptors[0])
    assert part.observation(first + 1) is None  # between two places


def test_another_model_is_refused(bag, tmp_path):
    paths = parts_of(bag, tmp_path, 2)
    with pytest.raises(MapModelMismatchError, match='the parts were made with model'):
        merge_parts(paths, lambda manifest: small_model(
            frame={'kind': 'hog', 'cell': 8, 'block': 32}))


def test_a_recording_without_a_usable_image_makes_no_map(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(4):
        (folder / f'{number}.png').write_bytes(b'no image')
    with pytest.raises(InputError, match='4 of 4 cannot be read'):
        merge_parts(parts_of(folder, tmp_path, 2), lambda manifest: small_model())
    with pytest.raises(InputError, match='no part was given'):
        merge_parts([], lambda manifest: small_model())
