"""Descriptors in fewer bytes: what is mapped is what is opened, however often it is saved."""

from pathlib import Path

import numpy as np
import pytest
from command_line import refusal as command_refusal
from map_files import small_model, write_unchecked
from refusal import refusal

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core import scratch_arrays
from seqnet_ros.core.errors import InputError, MapCorruptError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps import index, map_reader
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.stored_values import decode, encode, round_in_place
from seqnet_ros.models.place_model import PlaceModel, build_model

COUNT = 40


def images(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    noise = np.random.default_rng(seed + 1)
    shown = [np.kron(random.integers(0, 200, (8, 8, 3)), np.ones((8, 8, 1))) for _ in range(COUNT)]
    return [(image + noise.integers(0, 30, image.shape)).astype(np.uint8) for image in shown]


def mapped(model: PlaceModel, stored: str) -> PlaceMap:
    mapper = Mapper(model, stored=stored)
    for number, image in enumerate(images()):
        mapper.push(image, number * 10 ** 8)
    return mapper.finish('drive')


@pytest.mark.parametrize('stored', ['float16', 'int8'])
@pytest.mark.parametrize('unit', [True, False])
def test_rounding_twice_changes_nothing(stored, unit):
    rows = np.random.default_rng(0).standard_normal((500, 60)).astype(np.float32)
    rows *= np.exp(np.random.default_rng(1).uniform(-8, 8, (500, 1))).astype(np.float32)
    rows[7] = 0
    if unit:
        rows = normalize_rows(rows)
    once = rows.copy()
    round_in_place(once, stored, unit)
    error = np.linalg.norm(once - rows, axis=1) / np.maximum(np.linalg.norm(rows, axis=1), 1e-9)
    assert 0 < error.max() < (.02 if stored == 'int8' else .001)
    assert not once[7].any()
    assert np.array_equal(decode(encode(once, stored, unit), unit), once)


def test_too_large_for_float16():
    with pytest.raises(InputError, match='65504'):
        encode(np.full((1, 3), 1e6, np.float32), 'float16', False)


@pytest.mark.parametrize('stored', ['float16', 'int8'])
@pytest.mark.parametrize('large', [False, True])
def test_a_map_is_the_same_after_saving_and_smaller(stored, large, tmp_path, monkeypatch):
    if large:  # in temporary files, memory-mapped, and with a graph
        monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 0)
        monkeypatch.setattr(scratch_arrays, 'IN_MEMORY_BYTES', 0)
        monkeypatch.setattr(index, 'EXACT_BYTES', 0)
    model = small_model()
    place_map = mapped(model, stored)
    save_map(place_map, tmp_path / 'a')
    opened = open_map(tmp_path / 'a', model)
    assert opened.manifest == place_map.manifest
    for name in ('frames', 'sequences', 'mean', 'poses'):
        assert np.array_equal(getattr(opened, name), getattr(place_map, name)), name
    save_map(opened, tmp_path / 'b')
    for file in (tmp_path / 'a').iterdir():
        assert (tmp_path / 'b' / file.name).read_bytes() == file.read_bytes()
    assert verify_map(tmp_path / 'a').stored == stored
    full = mapped(model, 'float32')
    save_map(full, tmp_path / 'full')
    ratio = (tmp_path / 'full' / 'frames.npy').stat().st_size / (
        tmp_path / 'a' / 'frames.npy').stat().st_size
    assert ratio == pytest.approx(4 if stored == 'int8' else 2, rel=.1)
    assert np.abs(full.frames - opened.frames).max() < .005
    localizer = Localizer(model, opened)
    results = [localizer.push(image, number * 10 ** 8) for number, image in enumerate(images(5))]
    assert results[-1].accepted
    assert results[-1].best.place_id == COUNT - 1


def test_maps_of_projected_frames_too(tmp_path):
    model = build_model(parse_preset({
        'name': 'projected', 'image': {'height': 64, 'width': 64}, 'centring': False,
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 5},
        'projection': {'out_dim': 12, 'weights': {'random': True}}}), 'cpu')
    save_map(mapped(model, 'int8'), tmp_path / 'a')
    assert open_map(tmp_path / 'a', model).projected.shape == (COUNT, 12)


def test_an_extension_is_stored_as_the_map(tmp_path):
    model = small_model()
    first = mapped(model, 'int8')
    mapper = Mapper(model, extends=first)
    for number, image in enumerate(images(3)):
        mapper.push(image, number * 10 ** 8)
    save_map(mapper.finish(), tmp_path / 'both')
    both = open_map(tmp_path / 'both', model)
    assert (both.manifest.stored, len(both)) == ('int8', 2 * COUNT)
    mapper = Mapper(model, extends=first, stored='float32')
    mapper.push(images()[0], 0)
    assert 'stored' in refusal(mapper.finish)


def test_damage_is_noticed(tmp_path):
    model = small_model()
    place_map = mapped(model, 'int8')
    for name in ('frames', 'sequences', 'sequences_scales'):
        save_map(place_map, tmp_path / name)
        file = tmp_path / name / f'{name}.npy'
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        with pytest.raises(MapCorruptError, match='checksum'):
            open_map(tmp_path / name)
    # A manifest that states another type than the files have.
    other = place_map.manifest.model_copy(update={'stored': 'float16'})
    path = Path(tmp_path / 'other')
    write_unchecked(PlaceMap(**{**vars(place_map), 'manifest': other}), path)
    save_map(place_map, tmp_path / 'frames2')
    (path / 'frames.npy').write_bytes((tmp_path / 'frames2' / 'frames.npy').read_bytes())
    with pytest.raises(MapCorruptError):
        open_map(path)


def test_earlier_formats_are_unchanged(tmp_path):
    model = small_model()
    save_map(mapped(model, 'float32'), tmp_path / 'a')
    assert '"stored"' not in (tmp_path / 'a' / 'manifest.json').read_text()
    assert open_map(tmp_path / 'a').manifest.format_version == 1
    assert 'float64' in command_refusal('map', 'build', tmp_path, '--stored', 'float64',
                                        '--output', tmp_path / 'b')
