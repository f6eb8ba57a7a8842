"""Fetching weights from their publisher: over https, whole, verified, and under a license."""

import fcntl
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import refusal, run, succeed
from safetensors.torch import save_file
from weight_server import Publisher

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.download import Limits, cache_dir, cached_path, fetch, remote_size
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.models import place_model, speed
from seqnet_ros.models.licenses import is_free
from seqnet_ros.models.model_weights import needed_weights
from seqnet_ros.models.place_model import list_models, load_model, load_preset

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


def parts() -> list[str]:
    return sorted(path.name for path in cache_dir().glob('.*'))


def files() -> list[str]:
    return sorted(path.name for path in cache_dir().glob('[!.]*'))


# The download ----------------------------------------------------------------------------------

@pytest.mark.parametrize('sha256', [SHA, None])
def test_files_are_fetched_once(publisher: Publisher, sha256: str | None) -> None:
    publisher.files['w.pth'] = CONTENT
    url = f'{publisher.address}/w.pth'
    seen: list[tuple[int, int | None]] = []
    path = fetch(url, sha256, progress=lambda done, total: seen.append((done, total)))
    assert path == cached_path(url, sha256)
    assert path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    count = len(publisher.requests)
    assert fetch(url, sha256) == path
    assert len(publisher.requests) == count
    assert parts() == []
    record = path.with_name(f'{path.name}.sha256')
    assert record.is_file() == (sha256 is None)
    if sha256 is None:
        assert record.read_text() == f'{SHA}  {path.name}\n'


def test_a_download_that_broke_off_is_continued(publisher: Publisher) -> None:
    publisher.files['w.pth'], publisher.cut_after = CONTENT, 100_000
    url = f'{publisher.address}/w.pth'
    with pytest.raises(ModelError, match=(
            r'broke off after 100000 of 300000 bytes; the same command continues')):
        fetch(url, SHA)
    assert files() == []
    publisher.cut_after = None
    assert fetch(url, SHA).read_bytes() == CONTENT
    assert publisher.requests[-1] == ('GET', 'w.pth', 'bytes=100000-')
    assert parts() == []


@pytest.mark.parametrize('change', ['content', 'ranges'])
def test_a_download_starts_again_where_it_cannot_be_continued(
        publisher: Publisher, change: str) -> None:
    publisher.files['w.pth'], publisher.cut_after = CONTENT[::-1], 100_000
    url = f'{publisher.address}/w.pth'
    with pytest.raises(ModelError, match='broke off'):
        fetch(url, SHA)
    publisher.cut_after = None
    if change == 'ranges':
        publisher.ranges = False
    publisher.files['w.pth'] = CONTENT
    assert fetch(url, SHA).read_bytes() == CONTENT


def test_a_part_that_cannot_be_continued_is_not_kept(publisher: Publisher) -> None:
    publisher.files['w.pth'], publisher.cut_after, publisher.tags = CONTENT, 100_000, False
    with pytest.raises(ModelError, match=r'broke off after .*; the file was discarded'):
        fetch(f'{publisher.address}/w.pth', SHA)
    assert files() == parts() == []


def test_another_content_is_refused_and_leaves_nothing(publisher: Publisher) -> None:
    publisher.files['w.pth'] = b'other'
    other = hashlib.sha256(b'other').hexdigest()
    with pytest.raises(ModelError, match=f'has sha256 {other}, expected {SHA}; the file was disc'):
        fetch(f'{publisher.address}/w.pth', SHA)
    assert files() == parts() == []


def test_the_recorded_hash_holds_for_later_downloads(publisher: Publisher) -> None:
    publisher.files['w.pth'] = CONTENT
    url = f'{publisher.address}/w.pth'
    path = fetch(url, None)
    path.unlink()
    publisher.files['w.pth'] = b'other'
    with pytest.raises(ModelError, match=rf'expected {SHA}; .*\.sha256 records it'):
        fetch(url, None)
    assert not path.exists()
    publisher.files['w.pth'] = CONTENT
    assert fetch(url, None) == path


def test_a_hash_in_the_name_is_checked(publisher: Publisher) -> None:
    publisher.files |= {f'w-{SHA[:8]}.pth': CONTENT, 'w-00000000.pth': CONTENT}
    fetch(f'{publisher.address}/w-{SHA[:8]}.pth', None)
    with pytest.raises(ModelError, match=r'expected 00000000\.\.\. as in its name'):
        fetch(f'{publisher.address}/w-00000000.pth', None)


def test_limits_hold(publisher: Publisher) -> None:
    publisher.files['w.pth'] = CONTENT
    url = f'{publisher.address}/w.pth'
    with pytest.raises(ModelError, match='has 300000 bytes, expected at most 1000'):
        fetch(url, SHA, Limits(bytes=1000))
    with pytest.raises(ModelError, match='took longer than 1e-09 s; '):
        fetch(url, SHA, Limits(seconds=1e-9))
    assert files() == []
    assert fetch(url, SHA).read_bytes() == CONTENT


def test_a_silent_server_is_left_at_the_limit(publisher: Publisher) -> None:
    publisher.files['w.pth'] = CONTENT
    publisher.cut_after = 1000
    publisher.hangs.set()
    url = f'{publisher.address}/w.pth'
    began_s = time.monotonic()
    with pytest.raises(ModelError, match=r'took longer than 0\.5 s; the same command continues'):
        fetch(url, SHA, Limits(seconds=0.5))
    assert time.monotonic() - began_s < 5
    publisher.hangs.clear()
    publisher.cut_after = None
    assert fetch(url, SHA).read_bytes() == CONTENT


def test_a_part_that_nobody_asked_for_is_no_file(publisher: Publisher) -> None:
    publisher.files['w.pth'] = CONTENT
    publisher.unasked = 5
    url = f'{publisher.address}/w.pth'
    with pytest.raises(ModelError, match='it sent a part of the file that nobody asked for'):
        fetch(url, None)
    assert files() == []
    publisher.unasked = None
    assert fetch(url, None).read_bytes() == CONTENT


def test_only_https_is_used(publisher: Publisher) -> None:
    publisher.redirects = {'out': 'http://127.0.0.1:9/w.pth', 'file': 'file:///etc/hostname',
                           'on': f'{publisher.address}/w.pth'}
    publisher.files['w.pth'] = CONTENT
    assert fetch(f'{publisher.address}/on', SHA).read_bytes() == CONTENT
    for name in ('out', 'file'):
        with pytest.raises(ModelError, match=r'redirects to .*, expected an https|is not allowed'):
            fetch(f'{publisher.address}/{name}', '0' * 64)
    for url in ('http://127.0.0.1:9/w.pth', 'file:///etc/hostname'):
        with pytest.raises(ModelError, match=r'its scheme is .*, expected https'):
            fetch(url, SHA)
        with pytest.raises(ModelError, match=r'its scheme is .*, expected https'):
            remote_size(url)


def test_an_unknown_certificate_is_refused(
        publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.files['w.pth'] = CONTENT
    monkeypatch.delenv('SSL_CERT_FILE')
    with pytest.raises(ModelError, match='certificate verify failed'):
        fetch(f'{publisher.address}/w.pth', SHA)


def test_two_processes_do_not_write_one_file(publisher: Publisher) -> None:
    publisher.files['w.pth'] = CONTENT
    url = f'{publisher.address}/w.pth'
    path = cached_path(url, SHA)
    path.parent.mkdir(parents=True)
    with path.with_name(f'.{path.name}.part').open('a+b') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match='another process is downloading'):
            fetch(url, SHA)
    assert fetch(url, SHA) == path


# The command -----------------------------------------------------------------------------------

@pytest.fixture
def model(publisher: Publisher, tmp_path: Path) -> Path:
    """A model whose publisher is the server, and whose weights are not here."""
    document = {
        'license': 'MIT', 'paper': 'Someone, A Paper', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'network', 'layer': 1, 'pooling': {'kind': 'gem'}},
        'weights': {'path': 'w.safetensors', 'url': f'{publisher.address}/w.safetensors'}}
    config = parse_preset(document).model
    save_file(FrameNetwork(config.frame, config.image).state_dict(), tmp_path / 'source')
    publisher.files['w.safetensors'] = (tmp_path / 'source').read_bytes()
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(document))
    return path


def change(path: Path, **values: object) -> None:
    document = yaml.safe_load(path.read_text())
    weights = values.pop('weights', {})
    document['weights'] |= weights
    path.write_text(yaml.safe_dump({key: value for key, value in (document | values).items()
                                    if value is not None}))


def test_weights_are_fetched_and_used(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=(
            r'no weights at .*w\.safetensors: place the file there, download it with '
            r'`seqnet_ros models fetch MODEL` or pass another path')):
        load_model(model, 'cpu')
    shown = succeed('models', 'fetch', model, '--yes').stdout
    for words in ('from', '/w.safetensors', 'size     0.6 MB', 'license  MIT', 'Someone, A Paper',
                  'recorded at the first download', 'fetched'):
        assert words in shown, shown
    assert load_model(model, 'cpu').describer.dim == 64
    assert 'weights  here' in succeed('models', 'fetch', model).stdout
    # A file beside the model comes first, and a changed one in the cache is refused.
    cached, = cache_dir().glob('[!.]*w.safetensors')
    cached.write_bytes(cached.read_bytes()[:-1] + b'x')
    with pytest.raises(ModelError, match=r'have sha256 .*, expected .*models fetch'):
        load_model(model, 'cpu')
    (tmp_path / 'w.safetensors').write_bytes((tmp_path / 'source').read_bytes())
    assert load_model(model, 'cpu').describer.dim == 64
    (tmp_path / 'w.safetensors').unlink()
    succeed('models', 'fetch', model, '--yes')
    assert load_model(model, 'cpu').describer.dim == 64


def test_the_user_is_asked(model: Path) -> None:
    from typer.testing import CliRunner

    from seqnet_ros.cli.main import app

    result = CliRunner().invoke(app, ['models', 'fetch', str(model)], input='n\n')
    assert result.exit_code == 2
    assert "Download under the license 'MIT'?" in result.output
    assert 'license was not accepted' in result.output
    assert 'because nobody answered: pass --yes' in refusal('models', 'fetch', model)
    assert files() == []
    result = CliRunner().invoke(app, ['models', 'fetch', str(model)], input='y\n')
    assert result.exit_code == 0, result.output
    assert len(files()) == 2


@pytest.mark.parametrize('license_name', ['CC-BY-NC-4.0', None])
def test_a_license_that_restricts_is_accepted_by_name_only(
        model: Path, license_name: str | None) -> None:
    change(model, license=license_name)
    name = license_name or 'unknown'
    message = refusal('models', 'fetch', model, '--yes')
    assert f"--accept-license '{name}'" in message
    assert 'may restrict' in message
    message = refusal('models', 'fetch', model, '--accept-license', 'MIT')
    assert f"license of model {model} is '{name}', but --accept-license is 'MIT'" in message
    assert files() == []
    succeed('models', 'fetch', model, '--accept-license', name)
    assert len(files()) == 2


def test_a_wrong_hash_of_a_preset_is_refused(model: Path) -> None:
    change(model, weights={'sha256': '0' * 64})
    message = refusal('models', 'fetch', model, '--yes')
    assert f'expected {"0" * 64}' in message
    assert files() == []


def test_interrupted_and_continued_by_the_command(model: Path, publisher: Publisher) -> None:
    publisher.cut_after = 50_000
    assert 'broke off after 50000 of' in refusal('models', 'fetch', model, '--yes')
    publisher.cut_after = None
    succeed('models', 'fetch', model, '--yes')
    assert ('GET', 'w.safetensors', 'bytes=50000-') in publisher.requests


def test_killed_and_continued(model: Path, publisher: Publisher) -> None:
    publisher.cut_after = 200_000
    publisher.hangs.set()
    process = subprocess.Popen(
        [sys.executable, '-m', 'seqnet_ros.cli.main', 'models', 'fetch', model, '--yes'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in cache_dir().glob('.*.part')):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    publisher.hangs.clear()
    publisher.cut_after = None
    assert files() == []
    succeed('models', 'fetch', model, '--yes')
    assert publisher.requests[-1][2].startswith('bytes=')
    assert load_model(model, 'cpu').describer.dim == 64


def test_limits_of_the_command(model: Path) -> None:
    assert 'expected at most 1000' in refusal(
        'models', 'fetch', model, '--yes', '--max-size', 0.001)


def test_without_a_network_it_says_where_to_put_the_file(model: Path, tmp_path: Path) -> None:
    change(model, weights={'url': 'https://127.0.0.1:9/w.safetensors'})
    message = refusal('models', 'fetch', model, '--yes')
    assert 'could not download https://127.0.0.1:9/w.safetensors: ' in message
    assert f'without a network, place it at {tmp_path / "w.safetensors"}' in message


def test_files_without_an_address_name_their_page(model: Path, tmp_path: Path) -> None:
    change(model, weights={'url': None, 'page': 'https://example.org/weights'})
    message = refusal('models', 'fetch', model, '--yes')
    assert 'w.safetensors of model mine has no address to download from: get it from' in message
    assert f'https://example.org/weights and place it at {tmp_path / "w.safetensors"}' in message


def test_models_without_weights_need_nothing() -> None:
    assert 'weights  here' in succeed('models', 'fetch', 'hog').stdout
    assert 'no model' in refusal('models', 'fetch', 'nothing')


def test_licenses() -> None:
    assert is_free('MIT')
    assert is_free('GPL-3.0-or-later')
    assert not is_free('CC-BY-NC-4.0')
    assert not is_free('unknown')


@pytest.mark.parametrize('name', sorted(place_model.named_models()))
def test_every_shipped_model_says_where_its_weights_come_from(name: str) -> None:
    preset, _ = load_preset(name)
    for weights in needed_weights(preset.model):
        assert weights.path, name
        assert ((weights.url or '').startswith('https://') or weights.page
                or weights.package), name
    if preset.model.frame.takes_weights and preset.model.weights.url:
        assert preset.license or name in ('netvlad-seqnet', 'netvlad-hvpr')


# What the list shows ---------------------------------------------------------------------------

def test_the_list_shows_what_is_known(publisher: Publisher) -> None:
    shown = succeed('models', 'list').stdout
    megaloc = next(line for line in shown.splitlines() if line.startswith('megaloc '))
    for words in ('8448', '322x322', 'missing', 'MIT', 'Berton and Masone, MegaLoc, 2025'):
        assert words in megaloc
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert 'GPL-3.0' in lines['dinov2-salad']
    assert 'missing (fit them)' in lines['dinov2-vlad']


def test_speeds_are_measured_and_remembered(
        publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of this test is empty."""
    assert run('models', 'bench', 'nothing').exit_code == 2
    shown = succeed('models', 'bench', 'patchnorm', 'cosplace-resnet18-32', '--seconds', 0,
                    '--device', 'cpu').stdout
    lines = {line.split()[0]: line.split() for line in shown.splitlines()[1:]}
    assert float(lines['cosplace-resnet18-32'][1]) > float(lines['patchnorm'][1]) > 0
    listed = {line.split()[0]: line for line in succeed('models', 'list').stdout.splitlines()}
    assert f'{lines["cosplace-resnet18-32"][1]} cpu' in listed['cosplace-resnet18-32']
    assert ' cpu' not in listed['hog']
    info = next(info for info in list_models() if info.name == 'patchnorm')
    found, = speed.known_speeds(info.config)
    assert found.device == 'cpu'
    other = info.config.model_copy(
        update={'image': info.config.image.model_copy(update={'width': 128})})
    assert speed.known_speeds(other) == []

    monkeypatch.setattr(speed.platform, 'node', lambda: 'another machine')
    assert speed.known_speeds(info.config) == []


def test_a_damaged_memory_of_speeds_is_ignored(publisher: Publisher) -> None:
    succeed('models', 'bench', 'patchnorm', '--seconds', 0)
    path = cache_dir().parent / 'speeds.json'
    path.write_text('{"speeds": [')
    assert succeed('models', 'list').stdout
    succeed('models', 'bench', 'patchnorm', '--seconds', 0)
    assert ' cpu' in next(line for line in succeed('models', 'list').stdout.splitlines()
                          if line.startswith('patchnorm'))
