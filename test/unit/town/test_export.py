"""The rendered town as SF-XL images and as sequences: places, directions, the same bytes again."""

from pathlib import Path

import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.core.poses import yaw_of
from seqnet_ros.datasets.jist.sequence_folders import make_sequences, read_frames
from seqnet_ros.datasets.jist.sf_xl import Cells, partition_images, read_image_list, read_views
from seqnet_ros.datasets.utm_grid import to_utm
from seqnet_ros.evaluation.jist.sequence_ground_truth import sequence_ground_truth
from seqnet_town import AUTUMN, DAY, DUSK, NIGHT, Camera, Drive, Town
from seqnet_town.export import (
    SF_XL_FOV_DEG,
    Origin,
    plan_sequences,
    plan_sf_xl,
)


@pytest.fixture(scope='module')
def town() -> Town:
    return Town(7, (2, 1))


def test_crops_have_names_positions_and_enough_images_a_class(town: Town, tmp_path: Path) -> None:
    done: list[int] = []
    folder = tmp_path / 'sf_xl' / 'processed' / 'train'
    plan = plan_sf_xl(town, folder, (DAY, DUSK, AUTUMN, NIGHT), size=16, length=12.0)
    plan.write(progress=done.append)
    count = len(plan)
    assert done == list(range(1, count + 1))
    images = read_image_list(folder)
    assert len(images) == count
    views = read_views(images)
    assert set(views.heading) == set(range(0, 360, 30))
    assert read_image(images.path(0)).shape == (16, 16, 3)
    drive = Drive(town, DAY, speed=8.0, rate=3.2, length=12.0, seed=0)
    of_day = [row for row in range(count) if images.names[row].endswith('@day@.jpg')]
    assert len(of_day) == 12 * len(drive)
    near = np.hypot(views.east[of_day, None] - 5e5 - drive.poses[:, 0],
                    views.north[of_day, None] - 5e6 - drive.poses[:, 1]).min(axis=1)
    assert near.max() < 0.02
    # The middle cells have images of all four drives.
    partition = partition_images(views, Cells(min_images=10))
    assert len(partition.classes) >= 12
    conditions = {images.names[row].split('@')[-2] for row in partition.images_of(0)}
    assert conditions == {'day', 'dusk', 'autumn', 'night'}
    fields = images.names[0].split('@')
    earth = to_utm(np.array([float(fields[5])]), np.array([float(fields[6])]))
    assert (str(earth.zone), earth.letter) == (fields[3], fields[4])
    np.testing.assert_allclose(earth.positions, [[float(fields[1]), float(fields[2])]], atol=2.0)


def test_the_heading_is_that_of_the_leftmost_column(town: Town, tmp_path: Path) -> None:
    """What a robot that looks north has in its middle is at the left edge of the crop of 0."""
    size, length = 128, 5.0
    plan_sf_xl(town, tmp_path, (DAY,), size=size, spacing=2.5, length=length,
               headings=(0, 90)).write()
    drive = Drive(town, DAY, speed=8.0, rate=3.2, length=length, seed=0)
    heading_of_robot = np.rad2deg(yaw_of(drive.poses[0])) - 90  # from north, counter-clockwise
    images = read_image_list(tmp_path)
    for heading in (0, 90):
        row = next(row for row in range(len(images)) if '-00000@' in images.names[row]
                   and f'@{heading}@@@@' in images.names[row])
        crop = read_image(images.path(row)).astype(float)
        # The same place seen by a camera whose optical axis has that heading.
        camera = Camera(size, size, SF_XL_FOV_DEG, yaw_deg=heading - heading_of_robot)
        middle = Drive(town, DAY, camera, speed=8.0, rate=3.2, length=length, seed=0).render(0)
        rows = slice(size // 8, size // 2)
        left = crop[rows, :3].mean(axis=1)
        # The edges of a pinhole image are stretched: compare along the horizon's column only.
        stretch = 1 / np.cos(np.deg2rad(SF_XL_FOV_DEG / 2))
        centre = (size - 1) / 2
        source = np.clip(np.round(centre + (np.arange(size)[rows] - centre) / stretch), 0, size - 1)
        wanted = middle[source.astype(int), size // 2 - 1: size // 2 + 1].mean(axis=1)
        others = [middle[source.astype(int), column: column + 2].mean(axis=1)
                  for column in (size // 8, size * 7 // 8)]
        errors = [np.abs(left - column).mean() for column in (wanted, *others)]
        assert errors[0] == min(errors)
        assert errors[0] < 25


@pytest.mark.slow
def test_sequences_can_be_read_searched_and_made_again(town: Town, tmp_path: Path) -> None:
    camera = Camera(32, 24)
    for folder in ('first', 'second'):
        plan = plan_sequences(town, tmp_path / folder / 'test', 'hill', (DAY, AUTUMN), (NIGHT,),
                              frames=8, camera=camera, length=30.0, seed=3)
        plan.write(workers=1 if folder == 'first' else 2)
    files = sorted(file.relative_to(tmp_path / 'first')
                   for file in (tmp_path / 'first').rglob('*.jpg'))
    assert len(files) == len(plan)
    for file in files:
        assert (tmp_path / 'first' / file).read_bytes() == (tmp_path / 'second' / file).read_bytes()
    split = tmp_path / 'first' / 'test'
    database, queries = (read_frames(split, side) for side in ('database', 'queries'))
    assert set(database.cities) == {'hill'}
    assert {name.split('-')[1] for name in database.names} == {'day', 'autumn'}
    assert np.bincount(database.folders).max() == 8
    steps = np.hypot(*np.diff(database.positions[database.folders == 0], axis=0).T)
    assert 2.0 < steps.mean() < 4.0
    windows = [make_sequences(frames, 5) for frames in (database, queries)]
    truth = sequence_ground_truth(windows[0], windows[1], 2.5)
    assert truth.has_match.all()
    images = [read_image(frames.path(0)).mean() for frames in (database, queries)]
    assert images[1] < images[0]  # the queries are of the night


def test_towns_lie_where_they_are_put(town: Town, tmp_path: Path) -> None:
    origin = Origin(400_000.0, 4_000_000.0, 10, 'S')
    with pytest.raises(InputError, match=r'0 drives every 3\.0 m were requested'):
        plan_sequences(town, tmp_path, 'south', (DAY,), (), camera=Camera(16, 12), length=10.0,
                       origin=origin)
    plan_sequences(town, tmp_path, 'south', (DAY,), (DAY,), camera=Camera(16, 12), length=10.0,
                   origin=origin).write()
    positions = read_frames(tmp_path, 'database').positions
    assert (np.abs(positions - [400_000.0, 4_000_000.0]) < 1000).all()
    with pytest.raises(InputError, match='sequences of 0 frames'):
        plan_sequences(town, tmp_path, 'south', frames=0)
    with pytest.raises(InputError, match='drives every 0 m were requested'):
        plan_sf_xl(town, tmp_path, spacing=0)
