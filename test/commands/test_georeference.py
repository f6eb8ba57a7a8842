"""Maps of GPS positions know where on the earth they are."""

import dataclasses

import numpy as np
import pytest
from command_line import succeed
from PIL import Image
from streets import Street

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint, enu_to_geodetic
from seqnet_ros.maps.builder import extend_map
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.map_reader import open_map

ORIGIN = GeoPoint(48.1, 11.5, 520.0)


def write_drive(folder, street: Street, ways_m: np.ndarray) -> None:
    """Write the images of a drive eastward, and a table of its GPS positions."""
    (folder / 'images').mkdir(parents=True)
    positions = np.stack([ways_m, np.full_like(ways_m, 3.0), np.zeros_like(ways_m)], axis=1)
    rows = ['name,latitude,longitude,altitude']
    for number, (way_m, place) in enumerate(zip(
            ways_m.tolist(), enu_to_geodetic(positions, ORIGIN), strict=True)):
        name = f'{number:04}.png'
        Image.fromarray(street.view(way_m)).save(folder / 'images' / name)
        rows.append(f'{name},{place[0]:.10f},{place[1]:.10f},{place[2]:.4f}')
    (folder / 'gps.csv').write_text('\n'.join(rows) + '\n')


@pytest.fixture(scope='module')
def drives(tmp_path_factory):
    """Return the folder of two drives that begin 60 m apart."""
    folder, street = tmp_path_factory.mktemp('drives'), Street(1, 200)
    write_drive(folder / 'monday', street, np.arange(0.0, 100.0))
    write_drive(folder / 'friday', street, np.arange(60.0, 150.0))
    return folder


def build(drive, output, *options) -> None:
    succeed('map', 'build', drive / 'images', '--poses', drive / 'gps.csv', '--output', output,
            *options)


def test_a_map_of_gps_positions_has_a_datum(drives, tmp_path):
    build(drives / 'monday', tmp_path / 'map', '--model', 'hog')
    place_map = open_map(tmp_path / 'map')
    first = enu_to_geodetic(np.array([[0.0, 3.0, 0.0]]), ORIGIN)[0]
    assert dataclasses.astuple(place_map.manifest.geo_datum) == pytest.approx(first, abs=1e-4)
    assert 'origin on the earth' in succeed('map', 'info', tmp_path / 'map').output


def test_a_drive_that_begins_elsewhere_is_added_where_it_was(drives, tmp_path):
    output = tmp_path / 'map'
    build(drives / 'monday', output, '--model', 'hog')
    datum = open_map(output).manifest.geo_datum
    places = len(open_map(output))
    build(drives / 'friday', output, '--extend', output)
    extended = open_map(output)
    assert extended.manifest.geo_datum == datum
    assert extended.positions[places, 0] == pytest.approx(60.0, abs=0.01)


def test_maps_of_two_origins_are_not_joined(drives, tmp_path):
    maps = []
    for name in ('monday', 'friday'):
        build(drives / name, tmp_path / name, '--model', 'hog')
        maps.append(open_map(tmp_path / name))
    with pytest.raises(InputError, match='the frame of the session begins at 48'):
        extend_map(*maps)


def test_maps_of_earlier_versions_name_their_origin_in_words(drives, tmp_path):
    build(drives / 'monday', tmp_path / 'map', '--model', 'hog')
    manifest = open_map(tmp_path / 'map').manifest
    earlier = manifest.model_copy(update={'datum': None})
    assert 'datum' not in earlier.model_dump(mode='json')
    found = earlier.geo_datum
    assert found.latitude == pytest.approx(manifest.datum.latitude, abs=1e-6)
    assert found.longitude == pytest.approx(manifest.datum.longitude, abs=1e-6)


def test_positions_that_are_none_are_no_datum():
    assert Datum.of(None) is None
    with pytest.raises(ValueError, match='latitude'):
        Datum(latitude=90.1, longitude=0.0)


def test_shards_of_a_drive_know_where_it_began(drives, tmp_path):
    build(drives / 'friday', tmp_path / 'whole', '--model', 'hog')
    parts = [tmp_path / f'{number}.npz' for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        build(drives / 'friday', part, '--model', 'hog', '--shard', f'{number}/2')
    succeed('map', 'merge', *parts, '--output', tmp_path / 'map')
    assert open_map(tmp_path / 'map').manifest.geo_datum is not None
    for file in (tmp_path / 'whole').iterdir():
        assert (tmp_path / 'map' / file.name).read_bytes() == file.read_bytes()
