"""The report on a refreshed map: what changed, as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqnet_ros.core.files import whole_file
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.views import View
from seqnet_ros.pipelines.refresh import Refreshed, view_length
from seqnet_ros.pipelines.session_report import alignment_fields


def write_refresh_report(path: Path, refreshed: Refreshed, drive: str) -> None:
    """Write the report to a new file.

    Args:
        path: the file, see `session_report.check_report`.
        refreshed: what changed.
        drive: name of the drive.

    Raises:
        InputError: it cannot be written.
    """
    with whole_file(path) as file:
        file.write((json.dumps(refresh_fields(refreshed, drive), indent=1, allow_nan=False)
                    + '\n').encode())


def refresh_fields(refreshed: Refreshed, drive: str) -> dict[str, Any]:
    """Return what the report says; distances in meters."""
    before, after = refreshed.before, refreshed.place_map
    return {
        'drive': drive, 'certain_m': refreshed.certain_m,
        'map_id': {'before': before.manifest.map_id, 'after': after.manifest.map_id},
        'places': {'before': len(before), 'after': len(after)},
        'views': {'after': len(after.manifest.views), 'matched': refreshed.matched,
                  'passed': refreshed.passed,
                  'added': _stretches(after, refreshed.added),
                  'retired': _stretches(before, refreshed.retired)},
        'alignment': alignment_fields(refreshed.alignment)}


def _stretches(place_map: PlaceMap, views: Sequence[View]) -> list[dict[str, Any]]:
    return [{'first_place': view.first, 'last_place': view.end - 1,
             'length_m': view_length(place_map, view),
             'from': place_map.positions[view.first].tolist(),
             'to': place_map.positions[view.end - 1].tolist(),
             'matched': view.matched, 'passed': view.passed} for view in views]
