"""Calibrated cameras: pixels to rays and back, other resolutions, calibration files."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from seqnet_ros.core.camera import FORWARD, CameraModel, camera_from_info, read_camera_info
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix, relative_pose

K = [400.0, 0.0, 319.5, 0.0, 410.0, 239.5, 0.0, 0.0, 1.0]
COEFFICIENTS = {
    'plumb_bob': [-0.3, 0.1, 0.001, -0.002, -0.01],
    'rational_polynomial': [0.3, 0.02, 0.0005, -0.0003, 0.001, 0.5, 0.02, 0.0],
    'equidistant': [0.02, -0.01, 0.003, -0.001],
}
PIXELS = np.array([[319.5, 239.5], [20.0, 30.0], [600.0, 450.0], [100.0, 400.0]])


def camera_of(model: str = 'plumb_bob', d: list[float] | None = None) -> CameraModel:
    return camera_from_info(640, 480, model, COEFFICIENTS[model] if d is None else d, K)


@pytest.mark.parametrize('model', COEFFICIENTS)
def test_rays_project_where_they_came_from(model: str) -> None:
    camera = camera_of(model)
    rays = camera.rays(PIXELS)
    assert rays[0] == pytest.approx([0, 0], abs=1e-9)
    assert camera.project(np.insert(rays, 2, 1.0, axis=1) * 7) == pytest.approx(PIXELS, abs=1e-3)
    ideal = camera_of(d=[]).rays(PIXELS)
    assert np.abs(rays - ideal).max() > 0.005


def test_a_fisheye_measures_angles() -> None:
    camera = camera_of('equidistant', [0.0] * 4)
    angle = np.deg2rad(60)
    assert camera.rays(np.array([[319.5 + 400 * angle, 239.5]]))[0] == pytest.approx(
        [np.tan(angle), 0], abs=1e-6)
    # Beyond a right angle there is no such ray in front of the camera.
    assert np.isnan(camera.rays(np.array([[319.5 + 400 * np.deg2rad(120), 239.5]]))).all()


def test_rays_that_the_polynomial_does_not_have_are_not_invented() -> None:
    folding = camera_of(d=[-0.9, 0.0, 0.0, 0.0, 0.0])
    rays = folding.rays(np.array([[639.0, 479.0], [330.0, 240.0]]))
    assert np.isnan(rays[0]).all()
    assert np.isfinite(rays[1]).all()


def test_another_resolution_sees_the_same() -> None:
    camera = camera_of()
    half = camera.for_image(320, 240)
    assert (half.width, half.height) == (320, 240)
    assert half.rays((PIXELS + 0.5) / 2 - 0.5) == pytest.approx(camera.rays(PIXELS), abs=1e-6)
    assert camera.for_image(640, 480) is camera
    with pytest.raises(InputError, match='640x360 pixels, but the camera was calibrated with 640'):
        camera.for_image(640, 360)


def test_region_and_binning_of_a_message() -> None:
    whole = camera_of()
    part = camera_from_info(640, 480, 'plumb_bob', COEFFICIENTS['plumb_bob'], K,
                            roi=(100, 40, 400, 300), binning=(2, 2))
    assert (part.width, part.height) == (200, 150)
    shown = (PIXELS - [100, 40] + 0.5) / 2 - 0.5
    assert part.rays(shown) == pytest.approx(whole.rays(PIXELS), abs=1e-6)
    assert camera_from_info(640, 480, '', [], K, binning=(0, 0)).width == 640


def test_the_default_looks_along_the_robot() -> None:
    axes = pose_matrix(np.array(FORWARD))[:3, :3]
    assert axes @ [0, 0, 1] == pytest.approx([1, 0, 0])
    assert axes @ [1, 0, 0] == pytest.approx([0, -1, 0])
    assert axes @ [0, 1, 0] == pytest.approx([0, 0, -1])


def test_a_camera_survives_json() -> None:
    camera = camera_from_info(640, 480, 'equidistant', COEFFICIENTS['equidistant'], K,
                              base_from_camera=[0.3, 0, 1.1, *FORWARD[3:]])
    again = CameraModel.from_document(json.loads(json.dumps(camera.to_document())))
    assert again == camera
    assert hash(again) == hash(camera)
    assert camera != camera_of()
    with pytest.raises(InputError, match='expected base_from_camera, distortion'):
        CameraModel.from_document({'width': 640})


@pytest.mark.parametrize(('changes', 'words'), [
    ({'k': [0.0] * 9}, 'not calibrated: its matrix K is zero'),
    ({'k': [1.0] * 9}, r'expected \[\[fx, skew, cx\]'),
    ({'k': [400.0] * 4}, 'expected nine numbers'),
    ({'k': [float('nan')] * 9}, '3x3 finite numbers'),
    ({'distortion_model': 'thin_prism'}, "'thin_prism' is unknown, expected one of: plumb_bob"),
    ({'d': [0.1, 0.2]}, 'has 2 coefficients, expected 4 or 5'),
    ({'d': [0.1, 0.2, 0, 0, float('inf')]}, 'expected finite numbers'),
    ({'width': 0}, '0x480 pixels'),
    ({'base_from_camera': [0.0] * 7}, 'camera pose is .* unit quaternion'),
])
def test_what_is_no_camera_is_refused(changes: dict, words: str) -> None:
    fields = {'width': 640, 'height': 480, 'distortion_model': 'plumb_bob', 'd': [], 'k': K}
    with pytest.raises(InputError, match=words):
        camera_from_info(**{**fields, **changes})


def write_calibration(path: Path, **extra: object) -> Path:
    """Write a file in the form of ROS's camera_calibration."""
    path.write_text(yaml.safe_dump({
        'image_width': 640, 'image_height': 480, 'camera_name': 'front',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': K}, 'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': COEFFICIENTS['plumb_bob']},
        'rectification_matrix': {'rows': 3, 'cols': 3, 'data': np.eye(3).ravel().tolist()},
        'projection_matrix': {'rows': 3, 'cols': 4, 'data': [0.0] * 12}, **extra}))
    return path


def test_calibration_files(tmp_path: Path) -> None:
    assert read_camera_info(write_calibration(tmp_path / 'a.yaml')) == camera_of()
    mounted = read_camera_info(write_calibration(
        tmp_path / 'b.yaml', base_from_camera=[0.2, 0.0, 1.0, *FORWARD[3:]]))
    assert mounted.base_from_camera[:3].tolist() == [0.2, 0.0, 1.0]
    message = yaml.safe_dump({
        'width': 640, 'height': 480, 'distortion_model': 'plumb_bob',
        'd': COEFFICIENTS['plumb_bob'], 'k': K, 'binning_x': 0, 'binning_y': 0,
        'roi': {'x_offset': 0, 'y_offset': 0, 'width': 0, 'height': 0, 'do_rectify': False}})
    (tmp_path / 'c.yaml').write_text(f'{message}---\n')
    assert read_camera_info(tmp_path / 'c.yaml') == camera_of()


@pytest.mark.parametrize(('text', 'words'), [
    ('a: [', 'line 1: expected the node content'), ('- 1', 'is not a camera calibration'),
    ('', 'is not a camera'),
    ('image_width: 640', 'is not a camera calibration, expected image_width'),
    (None, 'cannot be read: No such file'),
    (yaml.safe_dump({'width': 640, 'height': 480, 'distortion_model': '', 'd': [], 'k': [0] * 9}),
     'not calibrated')])
def test_bad_calibration_files(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / 'camera.yaml'
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        read_camera_info(path)
    assert str(path) in str(raised.value)


def test_relative_poses() -> None:
    a, b = make_pose(1.0, 2.0, 0.5, 0.7), make_pose(-3.0, 4.0, 1.0, -2.0)
    assert pose_from_matrix(pose_matrix(a)) == pytest.approx(a)
    between = relative_pose(a, b)
    assert pose_from_matrix(pose_matrix(a) @ pose_matrix(between)) == pytest.approx(
        b * [1, 1, 1, *[np.sign(b[6])] * 4])
    assert relative_pose(a, a) == pytest.approx([0, 0, 0, 0, 0, 0, 1])
