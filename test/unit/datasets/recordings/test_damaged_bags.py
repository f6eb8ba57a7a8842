"""Bags as a killed recorder, a full disk or another tool leaves them: what is intact is read."""

import shutil
import sqlite3
import struct
import sys
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from mcap_files import write_mcap
from recorded_bags import (
    START_NS,
    STEP_NS,
    STORE,
    picture,
    raw_image,
    write_drive,
    write_messages,
)
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.open_recording import open_source

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def values(path: Path) -> list[int]:
    """Return which pictures a bag holds, of those of `raw_image`."""
    known = {picture(value).tobytes(): value for value in range(100)}
    return [known[frame.read().tobytes()] for frame in open_source(path)]


def images(count: int, first: int = 0) -> list[tuple[str, int, tuple[str, object]]]:
    stamps = [START_NS + index * STEP_NS for index in range(first, first + count)]
    return [('/camera', stamp, raw_image(stamp, first + place))
            for place, stamp in enumerate(stamps)]


def serialized(count: int) -> list[tuple[str, str, int, bytes]]:
    return [(topic, kind, stamp, bytes(STORE.serialize_cdr(message, kind)))
            for topic, stamp, (kind, message) in images(count)]


def kill_recorder(folder: Path, in_file: int, in_log: int) -> Path:
    """Write a sqlite3 bag whose last messages are in the write-ahead log only."""
    made = write_messages(folder / 'made', images(in_file + in_log), StoragePlugin.SQLITE3)
    source = sqlite3.connect(made / 'made.db3')
    live = sqlite3.connect(folder / 'live.db3')
    live.execute('PRAGMA journal_mode = WAL')
    live.execute('PRAGMA wal_autocheckpoint = 0')
    for sql, in source.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"):
        live.execute(sql)

    def copy(table: str, condition: str = '') -> None:
        rows = source.execute(f'SELECT * FROM {table} {condition}').fetchall()
        live.executemany(f'INSERT INTO {table} VALUES ({", ".join("?" * len(rows[0]))})', rows)
        live.commit()

    for table in ('schema', 'topics', 'message_definitions'):
        copy(table)
    if in_file:
        copy('messages', f'WHERE id <= {in_file}')
        live.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    copy('messages', f'WHERE id > {in_file}')
    killed = folder / 'killed'
    killed.mkdir()
    for suffix in ('', '-wal'):
        shutil.copy(f'{folder / "live.db3"}{suffix}', f'{killed / "drive_0.db3"}{suffix}')
    source.close()
    live.close()
    return killed


@pytest.mark.parametrize('in_file', [0, 6])
def test_messages_in_the_log_of_a_killed_recorder_are_read(tmp_path, in_file):
    path = kill_recorder(tmp_path, in_file, 12 - in_file)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    assert values(path) == list(range(12))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    (path / 'drive_0.db3-wal').unlink()
    if in_file:
        assert values(path) == list(range(in_file))


@pytest.mark.parametrize('share', [0.5, 0.9])
def test_intact_part_of_a_cut_mcap_is_read(tmp_path, caplog, share):
    path = write_drive(tmp_path / 'drive', count=40, height=100, width=200)
    file = path / 'drive.mcap'
    whole = file.read_bytes()
    file.write_bytes(whole[:int(share * len(whole))])
    frames = list(open_source(path))
    assert share * 40 - 2 <= len(frames) <= share * 40
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.read(), picture(index, 100, 200))
        assert frame.pose[0] == pytest.approx(index)
    assert 'drive.mcap is cut short' in caplog.text
    assert f'{40 - len(frames)} of 40 messages on /camera are missing' in caplog.text


@pytest.mark.parametrize('share', [0.5, 0.9])
def test_intact_part_of_a_cut_database_is_read(tmp_path, caplog, share):
    path = write_drive(tmp_path / 'drive', count=40, storage='sqlite3', height=100, width=200)
    file = path / 'drive.db3'
    whole = file.read_bytes()
    file.write_bytes(whole[:int(share * len(whole))])
    frames = list(open_source(path))
    assert share * 40 - 3 <= len(frames) <= share * 40
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.read(), picture(index, 100, 200))
    assert 'drive.db3 is damaged or cut short after' in caplog.text


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bag_of_which_nothing_is_left_is_refused(tmp_path, storage):
    path = write_drive(tmp_path / 'drive', storage=storage, height=200, width=200)
    file = next(path.glob('drive.*'))
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(InputError, match=r'drive.* cannot be read.* damaged or truncated'):
        open_source(path)


def test_damage_in_the_middle_loses_one_chunk(tmp_path, caplog):
    path = write_drive(tmp_path / 'drive', count=20, height=250, width=250, poses=False)
    file = path / 'drive.mcap'
    content = bytearray(file.read_bytes())
    # A message's record length, half way through the file, that leads beyond its chunk.
    at = content.index(picture(10, 250, 250).tobytes()[:32])
    record = content.rindex(struct.pack('<Q', START_NS + 10 * STEP_NS), 0, at) - 22
    content[record:record + 7] = b'\xff' * 7
    file.write_bytes(content)
    found = [round((frame.stamp_ns - START_NS) / STEP_NS) for frame in open_source(path)]
    assert found[:10] == list(range(10))
    assert found[-1] == 19
    assert 10 not in found
    assert f'{20 - len(found)} of 20 messages on /camera cannot be read' in caplog.text


@pytest.mark.parametrize(('compression', 'compress'), [
    ('', bytes), ('zstd', zstd.compress), ('lz4', lz4.frame.compress)])
@pytest.mark.parametrize('summary', [False, True])
def test_mcap_without_an_index_of_messages(tmp_path, compression, compress, summary):
    file = write_mcap(tmp_path / 'drive.mcap', serialized(10), compression=compression,
                      compress=compress, summary=summary)
    assert values(file) == list(range(10))


def test_mcap_without_chunks_and_profile(tmp_path):
    file = write_mcap(tmp_path / 'drive.mcap', serialized(10), profile='', per_chunk=0)
    assert values(file) == list(range(10))


@pytest.mark.parametrize(('compression', 'compress'), [
    ('zstd', zstd.compress), ('lz4', lz4.frame.compress)])
def test_damaged_chunk_of_mcap_is_left_out(tmp_path, caplog, compression, compress):
    packed = []

    def spoil(content: bytes) -> bytes:
        packed.append(compress(content))
        return packed[-1] if len(packed) != 2 else b'\0' * len(packed[-1])

    file = write_mcap(tmp_path / 'drive.mcap', serialized(12), compression=compression,
                      compress=spoil)
    assert values(file) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert 'holds a damaged chunk' in caplog.text


@pytest.mark.parametrize('profile', ['ros1', ''])
def test_mcap_of_ros1(tmp_path, profile):
    messages = [('/camera', 'sensor_msgs/Image', START_NS + index * STEP_NS,
                 ros1_image(index)) for index in range(5)]
    file = write_mcap(tmp_path / 'old.mcap', messages, profile=profile, encoding='ros1')
    assert values(file) == list(range(5))
    assert [frame.stamp_ns for frame in open_source(file)] == [
        START_NS + index * STEP_NS for index in range(5)]


def test_mcap_of_other_messages_is_named(tmp_path):
    file = write_mcap(tmp_path / 'web.mcap', [('/cam', 'foxglove.CompressedImage', 5, b'x')],
                      profile='', encoding='protobuf')
    with pytest.raises(InputError, match=r'no images; .*/cam \(foxglove\.CompressedImage, 1 mess'):
        open_source(file)


def ros1_image(index: int) -> bytes:
    store = get_typestore(Stores.ROS1_NOETIC)
    seconds, nanoseconds = divmod(START_NS + index * STEP_NS, 10**9)
    stamp = store.types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
    message = store.types['sensor_msgs/msg/Image'](
        header=store.types['std_msgs/msg/Header'](seq=index, stamp=stamp, frame_id='camera'),
        height=12, width=16, encoding='rgb8', is_bigendian=0, step=48,
        data=picture(index).reshape(-1))
    return bytes(store.serialize_ros1(message, 'sensor_msgs/msg/Image'))


def write_ros1(path: Path, first: int, count: int) -> Path:
    with Ros1Writer(path) as writer:
        camera = writer.add_connection('/camera', 'sensor_msgs/msg/Image',
                                       typestore=get_typestore(Stores.ROS1_NOETIC))
        for index in range(first, first + count):
            writer.write(camera, START_NS + index * STEP_NS, ros1_image(index))
    return path


def test_split_ros1_bag_is_read_in_order(tmp_path):
    write_ros1(tmp_path / 'drive_2021-05-01-10-05-00_1.bag', 3, 3)
    write_ros1(tmp_path / 'drive_2021-05-01-10-00-00_0.bag', 0, 3)
    assert values(tmp_path) == list(range(6))
    write_ros1(tmp_path / 'other_2021.bag', 0, 1)
    with pytest.raises(InputError, match=r'holds 2 bags, specify one of: drive_2021.*other_2021'):
        open_source(tmp_path)


def test_unfinished_ros1_bag_says_how_to_repair_it(tmp_path):
    file = write_ros1(tmp_path / 'drive.bag', 0, 3)
    file.rename(tmp_path / 'drive.bag.active')
    with pytest.raises(InputError, match=r'no index: `rosbag reindex drive\.bag\.active`'):
        open_source(tmp_path / 'drive.bag.active')


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('metadata', [True, False])
def test_compression_by_rosbag2(tmp_path, mode, storage, metadata):
    path = write_messages(
        tmp_path / 'drive', images(5), storage,
        lambda writer: writer.set_compression(mode, CompressionFormat.ZSTD))
    if not metadata:
        (path / 'metadata.yaml').unlink()
    assert values(path) == list(range(5))
    if mode == CompressionMode.FILE:
        assert values(next(path.glob('*.zstd'))) == list(range(5))


def test_parts_that_are_missing_or_renamed_are_named(tmp_path, caplog):
    path = write_messages(tmp_path / 'drive', images(5), StoragePlugin.SQLITE3)
    (path / 'drive.db3').rename(path / 'monday.db3')
    assert values(path) == list(range(5))
    assert 'names drive.db3, which is not in the folder; monday.db3 is read' in caplog.text
    (path / 'monday.db3').rename(path / 'drive.db3')
    metadata = (path / 'metadata.yaml').read_text()
    (path / 'metadata.yaml').write_text(
        metadata.replace('- drive.db3', '- drive.db3\n  - drive_1.db3', 1))
    caplog.clear()
    assert values(path) == list(range(5))
    assert 'names drive_1.db3, which is not in the folder' in caplog.text


@pytest.mark.parametrize(('before', 'after'), [
    ('storage_identifier: sqlite3', "storage_identifier: ''"),
    ('- drive.db3', '- rosbag2_2021/drive.db3'), ('version: 8', 'version: 99')])
def test_metadata_need_not_be_right(tmp_path, before, after):
    path = write_messages(tmp_path / 'drive', images(5), StoragePlugin.SQLITE3)
    metadata = (path / 'metadata.yaml').read_text()
    assert before in metadata
    (path / 'metadata.yaml').write_text(metadata.replace(before, after))
    assert values(path) == list(range(5))


@pytest.mark.parametrize(('content', 'reason'), [
    (b'', 'it does not have the fields that rosbag2 writes'),
    (b'rosbag2_bagfile_information: []', 'it does not have the fields that rosbag2 writes'),
    (b'\x00\xff\xfe', 'is not UTF-8 text'), (b'a:\n- b\nc: d: e', 'line 3')])
def test_metadata_that_cannot_be_used_is_named_in_words(tmp_path, caplog, content, reason):
    path = write_messages(tmp_path / 'drive', images(5))
    (path / 'metadata.yaml').write_bytes(content)
    assert values(path) == list(range(5))
    assert 'metadata.yaml cannot be used: ' in caplog.text
    assert reason in caplog.text
    assert 'Error' not in caplog.text


@pytest.mark.parametrize('kept', [8, 30])
def test_an_mcap_without_a_message_is_refused_in_words(tmp_path, kept):
    file = next(write_messages(tmp_path / 'drive', images(5)).glob('*.mcap'))
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r'the file is cut short.* and holds no intact message$'):
        open_source(cut)


def test_one_part_that_cannot_be_read_does_not_stop_the_others(tmp_path, caplog):
    path = write_messages(tmp_path / 'drive', images(5))
    (path / 'drive_1.mcap').write_bytes(b'rubbish' * 20)
    (path / 'metadata.yaml').unlink()
    assert values(path) == list(range(5))
    assert 'drive_1.mcap cannot be read' in caplog.text
    assert 'this part of the bag is left out' in caplog.text


def test_metadata_that_count_what_the_database_lacks(tmp_path, caplog):
    path = write_drive(tmp_path / 'drive', storage='sqlite3')
    with sqlite3.connect(path / 'drive.db3') as database:
        database.execute('DELETE FROM messages WHERE topic_id = '
                         "(SELECT id FROM topics WHERE name = '/odom')")
    assert open_source(path).pose_origin == 'none'
    assert '10 of 10 messages on /odom are missing, its metadata.yaml counts them' in caplog.text
    with sqlite3.connect(path / 'drive.db3') as database:
        database.execute('DELETE FROM messages')
    with pytest.raises(InputError, match=r'holds no images; .*/camera .*, 0 messages'):
        open_source(path)


def without_types(path: Path, change: str) -> None:
    """Change the database of a bag, whose columns may then hold values of any type."""
    with sqlite3.connect(path / 'drive.db3') as database:
        for table in ('topics', 'messages'):
            database.execute(f'CREATE TABLE other AS SELECT * FROM {table}')
            database.execute(f'DROP TABLE {table}')
            database.execute(f'ALTER TABLE other RENAME TO {table}')
        database.execute(change)


@pytest.mark.parametrize('change', [
    "UPDATE topics SET type = NULL WHERE name = '/odom'",
    "UPDATE topics SET name = 5 WHERE name = '/odom'",
    'UPDATE messages SET timestamp = NULL WHERE rowid = 1',
    "UPDATE messages SET data = 'text' WHERE rowid = 1"])
def test_database_with_values_of_other_types(tmp_path, change):
    path = write_drive(tmp_path / 'drive', storage='sqlite3')
    whole = len(list(open_source(path)))
    without_types(path, change)
    assert whole - 1 <= len(list(open_source(path))) <= whole


def test_database_with_topics_of_no_type_holds_no_images(tmp_path):
    path = write_drive(tmp_path / 'drive', storage='sqlite3')
    without_types(path, 'UPDATE topics SET type = NULL')
    with pytest.raises(InputError, match='holds no images'):
        open_source(path)
