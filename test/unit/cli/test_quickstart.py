"""Which topics `seqnet_ros quickstart` proposes."""

import pytest
import yaml

from seqnet_ros.cli import quickstart
from seqnet_ros.cli.quickstart import (
    CAMERA_INFO,
    COMPRESSED,
    ODOMETRY,
    RAW,
    Proposal,
    Seen,
    launch_line,
    propose,
    write_files,
)
from seqnet_ros.core.errors import InputError

FRONT = Seen('/front/image_raw', RAW, 30, '640x480, rgb8')
FRONT_JPEG = Seen('/front/image_raw/compressed', COMPRESSED, 30, 'jpeg')
FRONT_INFO = Seen('/front/camera_info', CAMERA_INFO, 30, '640x480')
REAR = Seen('/rear/image_raw', RAW, 30, '640x480, bgr8')
REAR_INFO = Seen('/rear/camera_info', CAMERA_INFO, 30, '640x480')
DEPTH = Seen('/front/depth/image_rect', RAW, 30, '640x480, 16UC1')
DEPTH_PNG = Seen('/front/depth/image_rect/compressedDepth', COMPRESSED, 30,
                 '16UC1; compressedDepth png')
DEPTH_JPEG = Seen('/front/depth/image_rect/compressed', COMPRESSED, 30, 'jpeg')
DEBUG = Seen('/localizer/debug_image', RAW, 3, '640x480, rgb8')
WHEELS = Seen('/wheels', ODOMETRY, 100)
LIDAR = Seen('/lidar/odometry', ODOMETRY, 20)


def test_the_only_camera_its_calibration_and_the_only_odometry_are_proposed():
    proposal = propose([FRONT, FRONT_INFO, REAR_INFO, WHEELS], None, None, ask=False)
    assert proposal == Proposal('/front/image_raw', 'raw', '/front/camera_info', '/wheels')


def test_depth_and_own_images_are_no_cameras():
    topics = [FRONT, DEPTH, DEPTH_PNG, DEPTH_JPEG, DEBUG]
    assert propose(topics, None, None, ask=False).image == '/front/image_raw'


def test_compressed_images_are_preferred_where_they_arrive():
    assert propose([FRONT, FRONT_JPEG], None, None, ask=False).transport == 'compressed'
    silent = Seen(FRONT_JPEG.name, COMPRESSED, 0)
    assert propose([FRONT, silent], None, None, ask=False).transport == 'raw'


@pytest.mark.parametrize('named', ['/front/image_raw', '/front/image_raw/compressed'])
def test_a_camera_can_be_named_with_or_without_its_transport(named):
    proposal = propose([FRONT_JPEG, REAR], named, None, ask=False)
    assert (proposal.image, proposal.subscribed) == (
        '/front/image_raw', '/front/image_raw/compressed')


def test_two_cameras_are_never_chosen_between_in_silence():
    with pytest.raises(InputError, match=r'found 2 topics for the camera.*--camera.*'
                                         r'/front/image_raw.*640x480, rgb8.*/rear/image_raw'):
        propose([FRONT, REAR], None, None, ask=False)
    assert propose([FRONT, REAR], '/rear/image_raw', None, ask=False).image == '/rear/image_raw'


def test_two_odometries_are_never_chosen_between_in_silence():
    topics = [FRONT, WHEELS, LIDAR]
    with pytest.raises(InputError, match=r'2 topics for the odometry.*--odometry none'):
        propose(topics, None, None, ask=False)
    assert propose(topics, None, '/wheels', ask=False).odometry == '/wheels'
    assert propose(topics, None, 'none', ask=False).odometry == ''


def test_on_a_terminal_the_user_is_asked(monkeypatch):
    monkeypatch.setattr(quickstart.typer, 'prompt', lambda *_, **__: 2)
    assert propose([FRONT, REAR], None, None, ask=True).image == '/rear/image_raw'
    monkeypatch.setattr(quickstart.typer, 'prompt', lambda *_, **__: 3)
    with pytest.raises(InputError, match='expected a number from 1 to 2'):
        propose([FRONT, REAR], None, None, ask=True)


def test_what_is_not_there_is_named_with_what_is():
    with pytest.raises(InputError, match=r'found no camera.*/wheels \(100 messages\)'):
        propose([WHEELS], None, None, ask=False)
    with pytest.raises(InputError, match=r'found no camera on /left; found /front/image_raw'):
        propose([FRONT], '/left', None, ask=False)
    with pytest.raises(InputError, match=r'found no odometry on /odom; found none'):
        propose([FRONT], None, '/odom', ask=False)


def test_files_and_launch_lines_hold_the_proposal(tmp_path):
    proposal = Proposal('/front/image_raw', 'compressed', '', '/wheels')
    write_files(proposal, tmp_path / 'new', tmp_path / 'new' / 'a.map')
    parameters = yaml.safe_load((tmp_path / 'new' / 'mapper.yaml').read_text())
    assert parameters['/**']['ros__parameters'] == {
        'image_transport': 'compressed', 'use_odometry': True, 'use_camera_info': False,
        'model': 'hog', 'map': str(tmp_path / 'new' / 'a.map')}
    line = launch_line('mapping', proposal, tmp_path / 'new' / 'mapper.yaml')
    assert line == (f'ros2 launch seqnet_ros mapping.launch.py params_file:={tmp_path}/new/'
                    'mapper.yaml image_topic:=/front/image_raw odometry_topic:=/wheels')
