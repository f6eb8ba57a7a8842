"""What a map keeps of its images: local features, pictures and the camera, on disk and back."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from map_files import write_unchecked

from seqnet_ros.config.engine import GeometryConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.camera import camera_from_info
from seqnet_ros.core.errors import InputError, MapCorruptError, MapError, MapWriteError
from seqnet_ros.descriptors.local_features import LocalFeatures
from seqnet_ros.maps import manifest_file
from seqnet_ros.maps.builder import build_map
from seqnet_ros.maps.keyframe_features import (
    THUMBNAIL_WIDTH,
    KeyframeFeatures,
    KeyframeImages,
    make_thumbnail,
)
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_model

CAMERA = camera_from_info(192, 144, 'plumb_bob', [-0.1, 0.0, 0.0, 0.0, 0.0],
                          [120.0, 0, 95.5, 0, 120.0, 71.5, 0, 0, 1])
PLACES = 12


def model_of(geometry: GeometryConfig | None = None) -> PlaceModel:
    return build_model(parse_preset({
        'name': 'small', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 3},
        'keyframes': {'min_change': 0},
        'geometry': None if geometry is None else geometry.model_dump()}), 'cpu')


def images() -> list[np.ndarray]:
    """Return pictures of noise, the third of them blank: it has no features."""
    random = np.random.default_rng(5)
    made = [random.integers(0, 256, (18, 24, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            for _ in range(PLACES)]
    made[2] = np.full_like(made[2], 128)
    return made


def map_of(geometry: GeometryConfig | None, *, keep_images: bool, camera: bool) -> PlaceMap:
    mapper = Mapper(model_of(geometry), keep_images=keep_images, camera=CAMERA if camera else None)
    for number, image in enumerate(images()):
        mapper.push(image, number * 100_000_000)
    return mapper.finish()


@pytest.fixture(scope='module', params=['sift', 'orb'])
def full(request: pytest.FixtureRequest) -> PlaceMap:
    return map_of(GeometryConfig(features=request.param), keep_images=True, camera=True)


def test_all_is_as_it_was_saved(full: PlaceMap, tmp_path: Path) -> None:
    save_map(full, tmp_path / 'map')
    found = open_map(tmp_path / 'map', model_of(GeometryConfig()))
    assert found.manifest == full.manifest
    assert found.manifest.format_version == 3
    assert found.manifest.camera_model == CAMERA
    assert not found.features.points.flags.writeable
    for name, array in full.arrays().items():
        again = found.arrays()[name]
        assert again.dtype == array.dtype
        assert np.array_equal(again, array), name
    assert len(found.features) == len(found.images) == PLACES
    assert len(found.features.of(2)) == 0
    for place in (0, 5, PLACES - 1):
        features = found.features.of(place)
        assert len(features) > 20
        assert (features.width, features.height) == (192, 144)
    assert verify_map(tmp_path / 'map') == full.manifest


def test_pictures_show_the_places(full: PlaceMap) -> None:
    for place, image in enumerate(images()):
        shown = full.images.read(place)
        assert shown.shape == image.shape
        # Chroma is stored at half the resolution: compare brightness.
        assert np.abs(shown.mean(axis=2) - image.mean(axis=2)).mean() < 12
    wide = make_thumbnail(np.zeros((300, 900, 3), np.uint8))
    assert KeyframeImages.collect([wide]).read(0).shape == (107, THUMBNAIL_WIDTH, 3)


@pytest.mark.parametrize(('geometry', 'keep_images', 'camera', 'version'), [
    (False, False, False, 1), (True, False, False, 3), (False, True, False, 3),
    (False, False, True, 3)])
def test_maps_say_what_they_keep(
        geometry: bool, keep_images: bool, camera: bool, version: int, tmp_path: Path) -> None:
    config = GeometryConfig() if geometry else None
    place_map = map_of(config, keep_images=keep_images, camera=camera)
    save_map(place_map, tmp_path / 'map')
    document = json.loads((tmp_path / 'map' / 'manifest.json').read_text())['manifest']
    assert document['format_version'] == version
    # What is not there is not mentioned: such maps are those of earlier versions to the byte.
    assert ('features' in document) == ('geometry' in document['model']) == geometry
    assert ('images' in document) == keep_images
    assert ('camera' in document) == camera
    found = open_map(tmp_path / 'map')
    assert (found.features is not None) == geometry
    assert (found.images is not None) == keep_images
    assert found.manifest == place_map.manifest


def test_geometry_changes_neither_fingerprint_nor_map_id() -> None:
    plain = map_of(None, keep_images=False, camera=False).manifest
    rich = map_of(GeometryConfig(), keep_images=True, camera=True).manifest
    assert (plain.fingerprint, plain.map_id) == (rich.fingerprint, rich.map_id)
    assert 'geometry' not in model_of().preset.document()
    preset = model_of(GeometryConfig(min_inliers=7)).preset
    assert parse_preset(preset.document()) == preset


def test_an_earlier_version_refuses_by_the_format(
        full: PlaceMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_map(full, tmp_path / 'map')
    monkeypatch.setattr(manifest_file, 'FORMATS', (1, 2))
    with pytest.raises(MapCorruptError, match='has map format 3, this version reads 1, 2'):
        open_map(tmp_path / 'map')


@pytest.mark.parametrize('name', ['feature_offsets', 'feature_points', 'feature_descriptors',
                                  'feature_sizes', 'image_offsets', 'image_data'])
def test_damage_is_found(name: str, full: PlaceMap, tmp_path: Path) -> None:
    path = tmp_path / 'map'
    save_map(full, path)
    file = path / f'{name}.npy'
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(MapCorruptError, match=rf'{name}.npy is \d+ bytes long, expected'):
        open_map(path)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(MapCorruptError, match=rf'{name}.npy was modified'):
        open_map(path)
    file.unlink()
    with pytest.raises(MapCorruptError, match=f'{name}.npy is missing'):
        open_map(path)


def with_arrays(place_map: PlaceMap, **changes: np.ndarray) -> PlaceMap:
    arrays = {**place_map.arrays(), **changes}
    return dataclasses.replace(place_map, features=KeyframeFeatures.of_arrays(arrays),
                               images=KeyframeImages.of_arrays(arrays))


def test_arrays_that_do_not_fit_are_refused(full: PlaceMap, tmp_path: Path) -> None:
    offsets = full.features.offsets
    backwards = offsets.copy()
    backwards[1] = backwards[2] + 1
    for changes, words in (
            ({'feature_offsets': offsets + 1}, 'expected ascending offsets from 0 to'),
            ({'feature_offsets': backwards}, 'expected ascending offsets'),
            ({'feature_offsets': offsets[:-1]}, r'expected int64 \[13\]'),
            ({'feature_points': full.features.points[:-1]}, 'feature_offsets runs from 0 to'),
            ({'feature_sizes': full.features.sizes.astype(np.int64)}, 'feature_sizes is int64'),
            ({'feature_descriptors': full.features.descriptors[:, :5]}, 'feature_descriptors is'),
            ({'image_offsets': full.images.offsets[::-1].copy()}, 'image_offsets runs from')):
        path = tmp_path / 'map'
        wrong = with_arrays(full, **changes)
        write_unchecked(wrong, path)
        with pytest.raises(MapCorruptError, match=words):
            open_map(path)
        with pytest.raises(MapWriteError, match=words):
            save_map(wrong, tmp_path / 'saved')
        assert [entry.name for entry in tmp_path.iterdir()] == ['map']


def test_verify_looks_at_every_feature_and_picture(full: PlaceMap, tmp_path: Path) -> None:
    for value in (-5.0, 500.0, np.nan):
        points = full.features.points.copy()
        points[-1, 0] = value
        write_unchecked(with_arrays(full, feature_points=points), tmp_path / 'map')
        with pytest.raises(MapCorruptError, match=f'place {PLACES - 1} are outside its image of'):
            verify_map(tmp_path / 'map')
    data = full.images.data.copy()
    data[full.images.offsets[4]: full.images.offsets[5]] = 0
    write_unchecked(with_arrays(full, image_data=data), tmp_path / 'map')
    with pytest.raises(MapCorruptError, match='the image of place 4'):
        verify_map(tmp_path / 'map')


def test_a_map_without_any_feature_can_be_kept(tmp_path: Path) -> None:
    mapper = Mapper(model_of(GeometryConfig()))
    mapper.push(np.full((72, 96, 3), 77, np.uint8), 0)
    save_map(mapper.finish(), tmp_path / 'map')
    found = open_map(tmp_path / 'map', verify=True)
    assert len(found.features.of(0)) == 0
    verify_map(tmp_path / 'map')


def test_an_image_that_does_not_go_with_the_camera_is_no_place() -> None:
    mapper = Mapper(model_of(GeometryConfig()), keep_images=True, camera=CAMERA)
    mapper.push(images()[0], 0)
    with pytest.raises(InputError, match='192x80 pixels, but the camera was calibrated'):
        mapper.push(images()[1][:80], 100_000_000)
    mapper.push(images()[3], 200_000_000)
    place_map = mapper.finish()
    assert len(place_map) == len(place_map.features) == len(place_map.images) == 2
    assert len(place_map.features.of(1)) > 20


def test_features_need_settings_that_speak_of_them(full: PlaceMap) -> None:
    descriptors = np.ones((1, model_of().describer.dim), np.float32)
    features = KeyframeFeatures.collect([LocalFeatures(
        np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), 96, 72)], 'sift')
    with pytest.raises(InputError, match='small has no geometry settings'):
        build_map(model_of(), descriptors, [0], full.poses[:1], [0], '1', features=features)


def test_a_manifest_with_a_bad_camera_is_refused(full: PlaceMap) -> None:
    document = full.manifest.model_dump()
    document['camera']['matrix'] = [0.0] * 9
    with pytest.raises(ValueError, match='not calibrated'):
        type(full.manifest).model_validate(document)
    with pytest.raises(MapError, match='the image of place 0'):
        KeyframeImages.collect([b'']).read(0)
