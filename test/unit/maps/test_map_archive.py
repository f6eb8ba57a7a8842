"""Maps as one file: the same map on another machine, and nothing else from a hostile archive."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import refusal as command_refusal
from command_line import succeed
from map_files import make_map, small_model
from refusal import refusal
from safetensors.torch import save_file

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.errors import MapCorruptError, MapExistsError, MapWriteError
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.maps.map_archive import CONTENTS, export_map, import_map
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import build_map_model, load_model

IMAGE = {'height': 64, 'width': 64}
FRAME = {'kind': 'network', 'backbone': 'mobilenet_v2', 'layer': 3, 'pooling': {'kind': 'gem'}}


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob('*')) if file.is_file()}


@pytest.fixture
def hog_archive(tmp_path) -> Path:
    """The archive of a map without weights."""
    save_map(make_map(small_model()), tmp_path / 'town')
    export_map(tmp_path / 'town', tmp_path / 'town.zip')
    return tmp_path / 'town.zip'


@pytest.fixture
def learned(tmp_path) -> Path:
    """A map of a network, with its weights in a folder of their own."""
    folder = tmp_path / 'models'
    folder.mkdir()
    torch.manual_seed(0)
    network = FrameNetwork(NetworkConfig.model_validate(FRAME), ImageConfig.model_validate(IMAGE))
    save_file(dict(network.state_dict()), folder / 'mine.safetensors')
    (folder / 'mine.yaml').write_text(yaml.safe_dump({
        'image': IMAGE, 'frame': FRAME, 'weights': {'path': 'mine.safetensors'},
        'sequence': {'length': 3}}))
    mapper = Mapper(load_model(folder / 'mine.yaml', 'cpu'))
    for number in range(6):
        mapper.push(np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8), number)
    save_map(mapper.finish(), tmp_path / 'route')
    return tmp_path / 'route'


def test_the_same_map_comes_out(hog_archive, tmp_path):
    import_map(hog_archive, tmp_path / 'copy')
    assert content(tmp_path / 'copy') == content(tmp_path / 'town')
    assert not (tmp_path / 'copy.weights').exists()
    export_map(tmp_path / 'copy', tmp_path / 'again.zip')
    assert (tmp_path / 'again.zip').read_bytes() == hog_archive.read_bytes()


def test_a_map_travels_with_its_weights(learned, tmp_path):
    export_map(learned, tmp_path / 'route.zip')
    expected = open_map(learned)
    shutil.rmtree(tmp_path / 'models')
    shutil.rmtree(learned)
    robot = tmp_path / 'robot'
    robot.mkdir()
    archived = import_map(tmp_path / 'route.zip', robot / 'other')
    assert archived.weights == ('mine.safetensors',)
    assert [file.name for file in (robot / 'other.weights').iterdir()] == ['mine.safetensors']
    manifest = read_manifest(robot / 'other')[0]
    assert manifest.model.weights.path == 'mine.safetensors'
    model = build_map_model(manifest.preset, 'cpu', map_path=robot / 'other')
    assert np.array_equal(open_map(robot / 'other', model).frames, expected.frames)
    # Weights that are there already are kept.
    import_map(tmp_path / 'route.zip', robot / 'other', overwrite=True)
    assert (robot / 'other~1').is_dir()


def test_other_weights_of_the_same_name_are_not_replaced(learned, tmp_path):
    export_map(learned, tmp_path / 'route.zip')
    (tmp_path / 'copy.weights').mkdir()
    (tmp_path / 'copy.weights' / 'mine.safetensors').write_bytes(b'other')
    with pytest.raises(MapWriteError, match='other weights'):
        import_map(tmp_path / 'route.zip', tmp_path / 'copy')
    assert not (tmp_path / 'copy').exists()
    assert (tmp_path / 'copy.weights' / 'mine.safetensors').read_bytes() == b'other'


def test_weights_of_another_training_are_not_exported(learned, tmp_path):
    torch.manual_seed(1)
    network = FrameNetwork(NetworkConfig.model_validate(FRAME), ImageConfig.model_validate(IMAGE))
    save_file(dict(network.state_dict()), tmp_path / 'models' / 'mine.safetensors')
    assert "was made with model 'mine'" in refusal(
        lambda: export_map(learned, tmp_path / 'route.zip'))
    export_map(learned, tmp_path / 'route.zip', with_weights=False)
    assert import_map(tmp_path / 'route.zip', tmp_path / 'copy').weights == ()


def test_an_existing_map_is_not_replaced_unasked(hog_archive, tmp_path):
    before = content(tmp_path / 'town')
    with pytest.raises(MapExistsError):
        import_map(hog_archive, tmp_path / 'town')
    assert content(tmp_path / 'town') == before


# --- hostile and damaged archives ---------------------------------------------------------------


def rewrite(archive: Path, change, compression: int = zipfile.ZIP_STORED,
            update: bool = True) -> Path:
    """Write an archive again after ``change`` to its files by name, with fitting checksums."""
    with zipfile.ZipFile(archive) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    change(files)
    if update:
        contents = {'format': 1, 'files': {
            name: {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
            for name, data in files.items() if name != CONTENTS}}
        files[CONTENTS] = json.dumps(contents).encode()
    target = archive.with_name('changed.zip')
    with zipfile.ZipFile(target, 'w', compression) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return target


def add(name: str, data: bytes = b'x'):
    return lambda files: files.update({name: data})


@pytest.mark.parametrize('name', [
    '../evil', 'map/../../evil', '/tmp/evil', 'weights/../evil', 'map/a/b', 'weights/.bashrc',
    'map/\\evil', 'evil', 'weights/evil.safetensors', 'map/evil.npy', 'weights/a\x1b[31m'])
def test_no_other_name_gets_out_of_an_archive(hog_archive, tmp_path, name):
    changed = rewrite(hog_archive, add(name))
    before = set(tmp_path.rglob('*'))
    message = refusal(lambda: import_map(changed, tmp_path / 'copy'))
    assert 'changed.zip' in message
    assert '\x1b' not in message
    assert set(tmp_path.rglob('*')) == before


def damage(files: dict[str, bytes]) -> None:
    data = bytearray(files['map/frames.npy'])
    data[-1] ^= 1
    files['map/frames.npy'] = bytes(data)


@pytest.mark.parametrize(('change', 'update', 'words'), [
    (damage, True, 'checksum'),  # the manifest of the map notices
    (damage, False, 'checksum'),
    (lambda files: files.pop('map/poses.npy'), True, 'poses.npy'),
    (lambda files: files.pop('map/poses.npy'), False, 'poses.npy'),
    (lambda files: files.pop('map/manifest.json'), True, 'manifest.json'),
    (lambda files: files.pop(CONTENTS), False, CONTENTS),
    (add(CONTENTS, b'{"files": 3}'), False, CONTENTS),
    (add(CONTENTS, b'[' * 100_000), False, CONTENTS),
    (add('map/manifest.json', b'{}'), True, 'manifest'),
])
def test_damaged_archives_are_refused(hog_archive, tmp_path, change, update, words):
    changed = rewrite(hog_archive, change, update=update)
    before = set(tmp_path.rglob('*'))
    assert words in refusal(lambda: import_map(changed, tmp_path / 'copy'))
    assert set(tmp_path.rglob('*')) == before


def test_compressed_archives_are_refused(hog_archive, tmp_path):
    changed = rewrite(hog_archive, lambda files: None, zipfile.ZIP_DEFLATED)
    assert 'compressed' in refusal(lambda: import_map(changed, tmp_path / 'copy'))


def test_truncated_archives_and_other_files_are_refused(hog_archive, tmp_path):
    data = hog_archive.read_bytes()
    for part in (b'', data[:100], data[:-30], data[: len(data) // 2], b'\x89PNG' + data[4:200]):
        (tmp_path / 'part.zip').write_bytes(part)
        with pytest.raises(MapCorruptError):
            import_map(tmp_path / 'part.zip', tmp_path / 'copy')
    assert 'found nothing' in refusal(lambda: import_map(tmp_path / 'no.zip', tmp_path / 'copy'))
    assert 'found a folder' in refusal(lambda: import_map(tmp_path, tmp_path / 'copy'))
    assert not (tmp_path / 'copy').exists()


def test_a_program_is_not_accepted_unasked(tmp_path):
    class Mean(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3)) + 2

    torch.jit.script(Mean()).save(tmp_path / 'mean.pt')
    (tmp_path / 'mean.yaml').write_text(yaml.safe_dump({
        'image': IMAGE, 'sequence': {'length': 3},
        'frame': {'kind': 'torchscript', 'path': 'mean.pt', 'out_dim': 3}}))
    mapper = Mapper(load_model(tmp_path / 'mean.yaml', 'cpu'))
    for number in range(6):
        mapper.push(np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8), number)
    save_map(mapper.finish(), tmp_path / 'route')
    export_map(tmp_path / 'route', tmp_path / 'route.zip')
    assert 'program' in refusal(lambda: import_map(tmp_path / 'route.zip', tmp_path / 'copy'))
    assert import_map(tmp_path / 'route.zip', tmp_path / 'copy',
                      allow_programs=True).weights == ('mean.pt',)


def test_the_commands(hog_archive, tmp_path):
    succeed('map', 'import', hog_archive, '--output', tmp_path / 'copy')
    told = succeed(
        'map', 'export', tmp_path / 'copy', '--output', tmp_path / 'copy.zip').stdout
    assert 'weights  none' in told
    assert 'exists' in command_refusal(
        'map', 'export', tmp_path / 'copy', '--output', tmp_path / 'copy.zip')
    assert open_map(tmp_path / 'copy').manifest == open_map(tmp_path / 'town').manifest
