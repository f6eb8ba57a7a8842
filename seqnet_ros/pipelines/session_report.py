"""The report on the sessions of a map: how each was aligned, as JSON."""

import json
from pathlib import Path
from typing import Any

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import refuse_existing, whole_file
from seqnet_ros.core.poses import yaw_of
from seqnet_ros.pipelines.map_sessions import MappedSessions
from seqnet_ros.sessions.alignment import Alignment


def check_report(path: Path | None) -> None:
    """Check, before long work, that a report can be written.

    Raises:
        InputError: the file exists, or there is no folder for it.
    """
    if path is not None:
        refuse_existing([path])
        if not path.absolute().parent.is_dir():
            raise InputError(f'{path.parent} is no folder, expected one for the report')


def write_report(path: Path, mapped: MappedSessions) -> None:
    """Write the report.

    Raises:
        InputError: it cannot be written.
    """
    document = {
        'solved_together': mapped.together,
        'sessions': [
            {'recording': session.recording.name, 'places': len(session.mapper),
             'alignment': None if alignment is None else alignment_fields(alignment)}
            for session, alignment in zip(mapped.sessions, mapped.alignments, strict=True)],
        'left_out': [{'recording': session.recording.name, 'reason': str(error)}
                     for session, error in mapped.left_out]}
    with whole_file(path) as file:
        file.write((json.dumps(document, indent=1, allow_nan=False) + '\n').encode())


def alignment_fields(alignment: Alignment) -> dict[str, Any]:
    """Return what a report says of an alignment; distances in meters, angles in radians."""
    along, across = alignment.rms_m()
    matches = alignment.matches
    x, y, z = alignment.transform[:3].tolist()
    return {
        'transform': {'x_m': x, 'y_m': y, 'z_m': z, 'yaw_rad': yaw_of(alignment.transform)},
        'matches': len(alignment.kept), 'matches_kept': int(alignment.kept.sum()),
        'rms_along_m': along, 'rms_across_m': across, 'overlap_m': alignment.overlap_m,
        'route_m': alignment.route_m, 'scale': alignment.scale, 'bend_m': alignment.bend_m,
        'left_m': alignment.left_m,
        'constraints': [
            {'keyframe': keyframe, 'place': place, 'kept': kept, 'measured': measured,
             'along_m': residual[0], 'across_m': residual[1]}
            for keyframe, place, kept, measured, residual in zip(
                matches.keyframes.tolist(), matches.places.tolist(), alignment.kept.tolist(),
                matches.measured.tolist(), alignment.residuals_m.tolist(), strict=True)]}
