"""Every parser of an option or a parameter gives a value or one short sentence, whatever the text.

Files are read in `test_readers`.
"""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seqnet_ros.cli.recording_options import read_range
from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.datasets.recordings.time_columns import parse_number, parse_time
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.maps.collection.splitting import parse_cell
from seqnet_ros.maps.fleet.address import parse_address
from seqnet_ros.maps.fleet.region import parse_region
from seqnet_ros.maps.fleet.server import parse_index
from seqnet_ros.pipelines.shards import Shard
from seqnet_ros.sequences.keyframes import Spacing

PARSERS: dict[str, tuple[Callable[[str], object], str]] = {
    'tolerance': (Tolerance.parse, '5m'),
    'spacing': (Spacing.parse, '1.5m'),
    'shard': (Shard.parse, '1/8'),
    'range': (read_range, '100:200'),
    'time': (lambda text: parse_time(text, None, 'line 3'), '12.5'),
    'number': (lambda text: parse_number(text, 'line 3', float), '-1.5e3'),
    'cell': (parse_cell, '500m'),
    'region': (parse_region, 'geo:48,9,48.1,9.1'),
    'address': (parse_address, 'milvus://maps.example:19530/town'),
    'index': (parse_index, 'HNSW'),
}
"""A parser, and a text that it takes."""
ATOMS = st.sampled_from([
    '0', '1', '-1', '1e400', 'nan', 'inf', '9' * 400, '0x1', '1_0', '\u0661', 'm', 'deg', 's', '/',
    ':', '=', ',', ' ', '\n', '\x1b[31m', '\0', 'milvus://', '@', '%', '[', '~', '*', '.', '..'])
TEXTS = st.lists(ATOMS | st.text(max_size=4), max_size=12).map(''.join)


def say(parse: Callable[[str], object], text: str) -> str:
    """Return why a text is refused; '' where it is taken."""
    try:
        parse(text)
    except SeqnetRosError as error:
        said = str(error)
        assert said
        assert '\n' not in said
        assert len(said) < 1000
        return said
    return ''


@pytest.mark.parametrize('name', PARSERS)
def test_what_it_takes(name):
    parse, text = PARSERS[name]
    assert not say(parse, text)


@pytest.mark.parametrize('name', PARSERS)
@given(text=TEXTS)
@example(text='')
@example(text='x' * 100_000)
@example(text='9' * 5000 + 'm')
def test_any_text(name, text):
    say(PARSERS[name][0], text)


@pytest.mark.parametrize('name', PARSERS)
@given(before=TEXTS, at=st.integers(0, 40), cut=st.integers(0, 3))
def test_changed_texts(name, before, at, cut):
    parse, text = PARSERS[name]
    say(parse, text[:at] + before + text[at + cut:])


@pytest.mark.requires_ros
@given(text=TEXTS)
@example(text='x' * 100_000)
@example(text='0 0 0 0 0 0 1')
def test_parameters_of_nodes(text):
    from seqnet_ros.nodes.bridges.map_server_node import read_grids
    from seqnet_ros.nodes.inputs.camera_input import parse_base_from_camera

    say(parse_base_from_camera, text)
    say(read_grids, text)
