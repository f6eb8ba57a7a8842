"""The coverage of a map on disk: picture, table of places, summary, and GeoJSON."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import (
    begins_with,
    explain_write_errors,
    prepare_outputs,
    refuse_file,
    whole_file,
)
from seqnet_ros.core.geodesy import GeoPoint, enu_to_geodetic
from seqnet_ros.evaluation.coverage.coverage import Coverage, Kind, Spot, places_along
from seqnet_ros.evaluation.report.coverage_map import draw_coverage
from seqnet_ros.maps.manifest_file import MANIFEST

PICTURE, PLACES, SUMMARY, GEOJSON = (
    'coverage.svg', 'coverage.csv', 'coverage.json', 'coverage.geojson')
COLUMNS = ('place', 'stamp_ns', 'x', 'y', 'z', 'class', 'after', 'length', 'looks_like')
_BEGINNINGS = {PICTURE: '<svg viewBox', PLACES: ','.join(COLUMNS), SUMMARY: '{\n "coverage_of":',
               GEOJSON: '{\n "type": "FeatureCollection"'}
NOTE = ('Positions are meters in the frame of the map, not degrees: the map does not know where on '
        'the earth its frame begins.')
"""What GeoJSON says where it is not WGS-84, as RFC 7946 asks for."""
_DECIMALS = 8
"""Of degrees: a millimeter."""


def check_coverage_folder(folder: Path) -> None:
    """Check, before long work, that the files can be written and replace only those of a run.

    Raises:
        InputError: the folder is a file, or holds another file of such a name.
    """
    refuse_file(folder)
    if (folder / MANIFEST).exists():
        raise InputError(f'output {folder} is a map, expected another folder')
    prepare_outputs([folder / name for name in _BEGINNINGS],
                    lambda path: begins_with(path, _BEGINNINGS[path.name]))


def write_coverage(coverage: Coverage, folder: Path) -> list[Path]:
    """Write the files of a coverage, and return their paths; GeoJSON where the map has poses.

    Raises:
        InputError: a file cannot be written.
    """
    contents = {PICTURE: draw_coverage(coverage), PLACES: _table(coverage),
                SUMMARY: _json(summary(coverage))}
    manifest = coverage.place_map.manifest
    if manifest.has_poses:
        contents[GEOJSON] = _json(geojson(coverage, manifest.geo_datum))
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not manifest.has_poses:
            (folder / GEOJSON).unlink(missing_ok=True)  # of an earlier run
    for name, content in contents.items():
        with whole_file(folder / name) as file:
            file.write(content.encode())
    return [folder / name for name in contents]


def summary(coverage: Coverage) -> dict[str, Any]:
    """Return shares, lengths and stretches, as in the summary."""
    return {
        'coverage_of': coverage.place_map.manifest.map_id, 'searched': coverage.asked,
        'within': coverage.within, 'unit': coverage.unit, 'doubt': coverage.doubt or None,
        'classes': {kind.value: {'share': round(coverage.share(kind), 6),
                                 'length': round(coverage.length(kind), 3)} for kind in Kind},
        'stretches': [_stretch(way) for way in coverage.stretches()]}


def geojson(coverage: Coverage, datum: GeoPoint | None) -> dict[str, Any]:
    """Return the stretches as a FeatureCollection (RFC 7946): longitude, latitude, altitude.

    Args:
        coverage: the coverage of a map with poses.
        datum: where on the earth the frame of the map begins; None leaves the positions in meters,
            and says so in a note.
    """
    features = []
    for way in coverage.stretches():
        line = _coordinates(coverage.place_map.positions[places_along(way)], datum)
        # A line has two positions or more.
        shape = ({'type': 'LineString', 'coordinates': line} if len(line) > 1
                 else {'type': 'Point', 'coordinates': line[0]})
        features.append({'type': 'Feature', 'geometry': shape, 'properties': _stretch(way)})
    return {'type': 'FeatureCollection', **({} if datum is not None else {'note': NOTE}),
            'features': features}


def _coordinates(positions: np.ndarray, datum: GeoPoint | None) -> list[list[float]]:
    if datum is None:
        return positions.round(3).tolist()
    latitude, longitude, altitude = enu_to_geodetic(positions, datum).T
    return np.stack([longitude.round(_DECIMALS), latitude.round(_DECIMALS), altitude.round(3)],
                    axis=1).tolist()


def _stretch(way: tuple[Spot, ...]) -> dict[str, Any]:
    after = [spot.after for spot in way if spot.after is not None]
    rivals = [spot.rival for spot in way if spot.rival is not None]
    return {
        'class': way[0].kind.value, 'first_place': way[0].place, 'last_place': way[-1].places[-1],
        'length': round(sum(spot.length for spot in way), 3),
        'after': round(float(np.median(after)), 3) if after else None,
        'looks_like': max(rivals, key=rivals.count) if rivals else None}


def _table(coverage: Coverage) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    place_map = coverage.place_map
    for spot in coverage.spots:
        position = [f'{value:.3f}' for value in place_map.positions[spot.place].tolist()]
        writer.writerow([
            spot.place, int(place_map.stamps_ns[spot.place]), *position, spot.kind.value,
            '' if spot.after is None else f'{spot.after:.3f}',
            f'{spot.length:.3f}', '' if spot.rival is None else spot.rival])
    return text.getvalue()


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + '\n'
