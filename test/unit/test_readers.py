"""Every reader of files gives values or one sentence, whatever the file is and holds."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from faults.readers import Reader, make_readers
from seqnet_ros.core.errors import SeqnetRosError

READERS = (
    'image', 'model file', 'recipe', 'calibration', 'manifest', 'results', 'descriptors', 'struct',
    'weights', 'cache of original code', 'SeqNet run', 'poses', 'pairs', 'true places', 'table',
    'bounds', 'names',
    'splits', 'times of images', 'queries of an evaluation', 'result document',
    'belief of an evaluation', 'part of a map', 'collection', 'tile of a fleet', 'archive of a map',
    'recording .mcap', 'recording .db3', 'recording .bag', 'recording .avi')
FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
NUMBERS = st.sampled_from(['0', '1', '-1', '1e400', 'nan', '9' * 400, '0x1', '1_0', '\u0661'])
LINES = st.lists(st.lists(NUMBERS | st.text(max_size=5), max_size=14), max_size=5)
EDITS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4)


known: dict[str, Reader] = {}
"""Not a fixture, which a failed example would print with all samples."""


@pytest.fixture(scope='module', autouse=True)
def _readers(tmp_path_factory: pytest.TempPathFactory) -> None:
    known.update({one.name: one for one in make_readers(tmp_path_factory.mktemp('readers'))})


def read(reader: Reader, path: Path) -> None:
    """Read a file that may be refused in one sentence."""
    said = 'nothing'
    try:
        reader.read(path)
    except SeqnetRosError as error:
        said = str(error)
    assert '\n' not in said
    assert 0 < len(said) < 5000


def test_every_reader_of_the_campaign_is_here() -> None:
    assert tuple(known) == READERS


@pytest.mark.parametrize('name', READERS)
@FEW
@given(content=st.binary(max_size=300))
@example(content=b'')
def test_any_bytes(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f'x{known[name].suffix}'
    path.write_bytes(content)
    read(known[name], path)


@pytest.mark.parametrize('name', READERS)
@FEW
@given(edits=EDITS, cut=st.none() | st.integers(0, 10**6), which=st.integers(0, 10))
def test_changed_and_cut_files(name: str, edits: list[tuple[int, int]], cut: int | None, which: int,
                               tmp_path: Path) -> None:
    samples = known[name].samples
    content = bytearray(samples[which % len(samples)])
    for at, value in edits:
        content[at % len(content)] = value
    path = tmp_path / f'x{known[name].suffix}'
    path.write_bytes(bytes(content if cut is None else content[:cut % len(content)]))
    read(known[name], path)


@pytest.mark.parametrize('name', ['poses', 'pairs', 'table', 'bounds', 'names', 'times of images',
                                  'queries of an evaluation', 'recipe', 'calibration'])
@FEW
@given(lines=LINES, by=st.sampled_from([' ', ',', '\t', ': ']))
def test_any_table(name: str, lines: list[list[str]], by: str, tmp_path: Path) -> None:
    """The first line of a whole file, and any fields below it."""
    reader = known[name]
    head = reader.samples[0].split(b'\n')[0].decode()
    path = tmp_path / f'x{reader.suffix}'
    for first in (head, ''):
        path.write_text('\n'.join([first, *(by.join(fields) for fields in lines)]),
                        encoding='utf-8', errors='surrogatepass', newline='')
        read(reader, path)


@pytest.mark.parametrize('kind', ['pipe', 'endless', 'folder', 'loop', 'missing'])
@pytest.mark.parametrize('name', READERS)
def test_what_is_no_file(name: str, kind: str, tmp_path: Path) -> None:
    """A pipe without a writer would block, and a device without an end fill the memory."""
    path = tmp_path / f'x{known[name].suffix}'
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'endless':
        path.symlink_to('/dev/zero')
    elif kind == 'folder':
        path.mkdir()
    elif kind == 'loop':
        path.symlink_to(path)
    optional = name == 'times of images' or (
        name == 'belief of an evaluation' and kind in ('loop', 'missing'))
    if optional:
        read(known[name], path)
        return
    with pytest.raises(SeqnetRosError):
        known[name].read(path)
