"""What a reader must know to trust the numbers of an evaluation."""

import numpy as np

from seqnet_ros.datasets.utm_grid import are_degrees
from seqnet_ros.evaluation.metrics.ground_truth import explain_no_match
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.metrics.place_ground_truth import METRES, Tolerance
from seqnet_ros.evaluation.nearest_neighbors import COPIED, share_of_copies
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import Recordings
from seqnet_ros.evaluation.replay.reference_places import ReferencePlaces
from seqnet_ros.evaluation.replay.replay import Replayed


def note_results(replayed: Replayed, mapped: ReferencePlaces, maps: Recordings | None,
                 queries: Recordings, metrics: LocalizationMetrics,
                 tolerance: Tolerance) -> list[str]:
    """Return what was skipped, and why measures say little."""
    notes = [f'{problem} (the rest of the recording was evaluated)'
             for side in (maps, queries) if side is not None for problem in side.problems]
    for what, damaged in (('the map', mapped.damaged), ('the queries', replayed.damaged)):
        if damaged:
            notes.append(f'skipped {len(damaged)} unreadable images of {what}, such as: '
                         f'{damaged[0]}')
    counts = metrics.queries
    unknown = counts.searched - counts.with_truth
    if unknown:
        notes.append(f'the true place of {unknown} of {counts.searched} searches is unknown: they '
                     'are excluded from all measures of correctness')
    if counts.with_truth and not counts.in_map:
        notes.append(_note_no_match(replayed, mapped, metrics, tolerance))
    if not counts.searched:
        notes.append('nothing was searched: the recording has too few keyframes')
    return notes


def _note_no_match(replayed: Replayed, mapped: ReferencePlaces, metrics: LocalizationMetrics,
                   tolerance: Tolerance) -> str:
    nearest = [query.judged.judgement.nearest for query in replayed.queries
               if query.judged.judgement.known and query.judged.searched]
    why = ''
    if tolerance.unit == METRES:
        places, true = _positions(replayed, mapped)
        why = explain_no_match(places, true, tolerance.value)
    return (f'no query is within {tolerance} of a place of the map, the nearest is '
            f'{min(nearest):.6g} {metrics.unit} away: '
            + (f'{why}; ' if why else '')
            + 'check that the poses of both drives are in the same frame and that the drives '
              'overlap')


def note_trivial(replayed: Replayed, mapped: ReferencePlaces, tolerance: Tolerance) -> str:
    """Return a sentence if every place of the map is correct for every query, else ''."""
    if tolerance.unit != METRES or tolerance.degrees is not None:
        return ''
    places, true = _positions(replayed, mapped)
    if not (len(places) and len(true)):
        return ''
    corners = np.maximum(np.abs(true - places.min(axis=0)), np.abs(true - places.max(axis=0)))
    if np.linalg.norm(corners, axis=1).max() > tolerance.value:
        return ''
    # A map of degrees has hardly any places: all are nearer than their spacing.
    degrees = ': the poses look like degrees, expected meters' if are_degrees(true) else ''
    return (f'every place of the map is within {tolerance} of every query, so any result counts as '
            f'correct{degrees}')


def _positions(replayed: Replayed, mapped: ReferencePlaces) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the places and of the queries whose true poses are known."""
    places = mapped.truth[np.isfinite(mapped.truth).all(axis=1), :2]
    true = [query.truth[:2] for query in replayed.queries if query.truth is not None]
    return places, np.array(true).reshape(-1, 2)


def note_same_drive(described: DescriptorCache, replayed: Replayed, mapped: ReferencePlaces,
                    maps: Recordings | None, queries: Recordings) -> str:
    """Return a sentence if the queries are frames of the map's own drive, else ''."""
    if maps is None:
        known = {name for manifest in mapped.manifests for name in manifest.source.split(', ')}
        same = all(source.name in known for source in queries.sources)
    else:
        rows = [_descriptors(described, side, numbers) for side, numbers in (
            (queries, [query.number for query in replayed.queries]),
            (maps, mapped.place_frames[mapped.place_frames >= 0].tolist()))]
        same = all(map(len, rows)) and share_of_copies(rows[0], rows[1]) >= COPIED
    return ('the queries are images of the drive that the map was made of, so the measures say '
            'nothing about another drive') if same else ''


def _descriptors(described: DescriptorCache, side: Recordings, numbers: list[int]) -> np.ndarray:
    files = described.files(side)
    found = [files[side.recording_of(number)].get(side.index_in_recording(number))
             for number in numbers]
    known = [one[0] for one in found if one is not None]
    return np.stack(known) if known else np.empty((0, 1), np.float32)
