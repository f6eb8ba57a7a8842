"""What `import seqnet_ros as sr` offers, and the notebooks that show it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

import seqnet_ros as sr
from seqnet_ros.core.any_image import as_rgb
from seqnet_ros.core.errors import InputError, MapExistsError
from seqnet_ros.datasets.recordings.bag_writer import write_bag
from seqnet_ros.maps.map_reader import verify_map
from seqnet_town import DAY, DUSK, Camera, Condition, Drive, Town

NOTEBOOKS = Path(__file__).resolve().parents[2] / 'docs' / 'notebooks'


def drive(condition: Condition, seed: int) -> Drive:
    """A short drive through the same streets."""
    return Drive(Town(7, (2, 1)), condition, Camera(96, 72), length=41.0, speed=10.0, seed=seed)


def write_images(folder: Path, shown: Drive) -> Path:
    folder.mkdir()
    for index in range(len(shown)):
        cv2.imwrite(f'{folder}/{index}.png', cv2.cvtColor(shown.render(index), cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture(scope='module')
def monday(tmp_path_factory) -> tuple[Path, Drive]:
    shown = drive(DAY, 1)
    return write_images(tmp_path_factory.mktemp('town') / 'monday', shown), shown


@pytest.fixture(scope='module')
def hog():
    return sr.load_model('hog', 'cpu')


def test_importing_the_package_imports_neither_torch_nor_numpy():
    code = ('import sys, seqnet_ros as sr; assert "describe" in dir(sr); '
            'print([name for name in ("torch", "numpy", "cv2") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_everything_offered_is_there_and_documented():
    assert {'load_model', 'describe', 'build_map', 'open_map', 'Localizer', 'evaluate',
            'register_descriptor'} == set(sr.__all__)
    for name in sr.__all__:
        assert getattr(sr, name).__doc__
    with pytest.raises(AttributeError, match='nothing'):
        sr.nothing  # noqa: B018


# --- images of any kind --------------------------------------------------------------------------

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
GRAY = RGB[..., 0]
GRAY_RGB = np.repeat(GRAY[..., None], 3, axis=2)


@pytest.mark.parametrize(('image', 'expected'), [
    (RGB, RGB),
    (Image.fromarray(RGB), RGB),
    (Image.fromarray(RGB).convert('RGBA'), RGB),
    (np.dstack([RGB, GRAY]), RGB),
    (torch.from_numpy(RGB), RGB),
    (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
    (torch.from_numpy(RGB).permute(2, 0, 1).float() / 255, RGB),
    (RGB / 255.0, RGB),
    (RGB.astype(np.uint16) * 257, RGB),
    (GRAY, GRAY_RGB),
    (GRAY[..., None], GRAY_RGB),
    (Image.fromarray(GRAY), GRAY_RGB),
    (Image.fromarray(GRAY.astype(np.uint16) * 257), GRAY_RGB),
    (torch.from_numpy(GRAY.copy())[None], GRAY_RGB),
    (GRAY > 127, np.repeat((GRAY[..., None] > 127) * np.uint8(255), 3, axis=2)),
])
def test_images_of_any_kind(image, expected):
    found = as_rgb(image)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_files_and_their_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright
    Image.fromarray(RGB).save(tmp_path / 'turned.png', exif=exif)
    assert np.array_equal(as_rgb(tmp_path / 'turned.png'), np.rot90(RGB, -1))
    assert np.array_equal(as_rgb(Image.open(str(tmp_path / 'turned.png'))), np.rot90(RGB, -1))


@pytest.mark.parametrize(('image', 'words'), [
    (RGB.astype(np.float32), 'expected 0 to 1'),
    (RGB / np.float32(255) - np.float32(.5), 'expected 0 to 1'),
    (np.full((4, 4), np.nan), 'expected 0 to 1'),
    (RGB.astype(np.int64), 'int64'),
    (np.zeros((4, 4, 2), np.uint8), '[4, 4, 2]'),
    (np.zeros((0, 4, 3), np.uint8), '[0, 4, 3]'),
    (7, 'int'),
    (None, 'NoneType'),
])
def test_what_is_no_image_is_refused(image, words):
    assert words in refusal(lambda: as_rgb(image))


def test_one_or_many_images(monday, hog):
    folder, shown = monday
    one = sr.describe(folder / '0.png', hog)
    assert one.shape == (hog.describer.dim,)
    every = sr.describe(folder, hog)
    assert every.shape == (len(shown), hog.describer.dim)
    assert np.array_equal(every[0], one)
    pixels = [shown.render(index) for index in range(3)]
    for many in (pixels, np.stack(pixels), iter(pixels), tuple(map(Image.fromarray, pixels)),
                 torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
                 [folder / f'{index}.png' for index in range(3)]):
        assert np.array_equal(sr.describe(many, hog), every[:3])
    assert np.array_equal(sr.describe(pixels[0], 'hog'), one)
    with pytest.raises(InputError, match='no image'):
        sr.describe([], hog)
    with pytest.raises(InputError, match='type int'):
        sr.describe(7, hog)


# --- maps ----------------------------------------------------------------------------------------


def test_a_map_of_a_folder_or_of_images_is_the_same(monday, hog, tmp_path):
    folder, shown = monday
    of_folder = sr.build_map(folder, tmp_path / 'route.map', hog)
    of_images = sr.build_map([shown.render(index) for index in range(len(shown))], model=hog)
    assert of_folder.manifest.map_id == of_images.manifest.map_id
    assert verify_map(tmp_path / 'route.map').places == len(shown)
    with pytest.raises(MapExistsError):
        sr.build_map(folder, tmp_path / 'route.map', hog)
    for source in (tmp_path / 'route.map', sr.open_map(tmp_path / 'route.map')):
        assert sr.load_model(source, 'cpu').fingerprint == hog.fingerprint


def test_poses_and_settings_of_a_list_of_images(monday, hog):
    _, shown = monday
    images = [shown.render(index) for index in range(len(shown))]
    whole = sr.build_map(images, model=hog, poses=shown.poses, settings={'keyframes.every': '4m'})
    assert len(whole) < len(shown) / 2
    flat = sr.build_map(images, model=hog, poses=shown.poses[:, :2])
    assert np.allclose(flat.positions[:, :2], shown.poses[:len(flat), :2])
    assert '[41, 7]' in refusal(
        lambda: sr.build_map(images[:41], model=hog, poses=shown.poses[:3]))
    assert 'one image' in refusal(lambda: sr.build_map(images[0], model=hog))
    assert 'ascending' in refusal(
        lambda: sr.build_map(images[:2], model=hog, stamps_ns=[2, 1]))


# --- the notebooks -------------------------------------------------------------------------------


def execute(name: str) -> None:
    """Execute the cells of a notebook, one after the other, in the working directory."""
    notebook = json.loads((NOTEBOOKS / name).read_text())
    names: dict[str, object] = {}
    for number, cell in enumerate(notebook['cells']):
        if cell['cell_type'] == 'code':
            assert not cell['outputs'], 'commit notebooks without outputs'
            exec(compile(''.join(cell['source']), f'{name}, cell {number}', 'exec'), names)


def test_own_images_to_a_map(monday, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'monday').symlink_to(monday[0])
    tuesday = drive(DUSK, 2)
    write_images(tmp_path / 'tuesday', tuesday)
    execute('own_images.ipynb')
    told = capsys.readouterr().out
    assert f'{len(monday[1])} places' in told
    count = int(told.split(' images were localized')[0].split()[-3])
    assert count > len(tuesday) / 3
    place = int(told.split('the last one at place ')[1].split()[0])
    assert np.linalg.norm(monday[1].poses[place, :2] - tuesday.poses[-1, :2]) < 2.0


def test_compare_models_on_two_bags(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, shown in (('monday', drive(DAY, 1)), ('tuesday', drive(DUSK, 2))):
        write_bag(shown, tmp_path / name)
    execute('compare_models.ipynb')
    told = capsys.readouterr().out
    assert 'hog' in told
    assert (tmp_path / 'runs' / 'hog' / 'report.html').is_file()
    recall = float(told.split('R@1 ')[1].split()[0])
    assert recall > 0.8
