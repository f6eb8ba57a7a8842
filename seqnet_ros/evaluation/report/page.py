"""Puts the report together: plots, pictures and numbers into one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from seqnet_ros.core.files import whole_file
from seqnet_ros.evaluation.metrics.localization_metrics import OUTCOMES
from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRun
from seqnet_ros.evaluation.replay.evaluation_results import ReplayResults
from seqnet_ros.evaluation.replay.replay import Query
from seqnet_ros.evaluation.replay.run_files import REPORT
from seqnet_ros.evaluation.report import plots, svg
from seqnet_ros.evaluation.report.belief_charts import belief_map, probability_chart
from seqnet_ros.evaluation.report.pictures import BUDGET, Pictures, data_uri
from seqnet_ros.evaluation.report.reasons import reason_rows
from seqnet_ros.evaluation.report.route_map import RouteMap, layout
from seqnet_ros.evaluation.report.similarity_matrix import draw_matrix, similarity_picture
from seqnet_ros.evaluation.report.summary import summary_rows
from seqnet_ros.evaluation.report.template import render, resource

_WORST = 12
_SEVERITY = {'wrong': 0, 'lost': 1, 'missed': 2}
_MOST_MARKS = 20_000


def write_report(run: EvaluationRun, folder: Path, budget: int = BUDGET) -> Path:
    """Write the report of an evaluation.

    Args:
        run: the evaluation.
        folder: folder to write to.
        budget: bytes of all pictures.

    Returns:
        The path of the page.

    Raises:
        InputError: it cannot be written, or a recording cannot be read again.
    """
    path = folder / REPORT
    page = render_page(run, budget)
    with whole_file(path) as file:
        file.write(page.encode())
    return path


def render_page(run: EvaluationRun, budget: int = BUDGET) -> str:
    """Return the report of an evaluation as HTML."""
    return render('report.html', **_context(run, budget))


def _context(run: EvaluationRun, budget: int) -> dict[str, Any]:
    queries = run.replayed.queries
    order = worst_first(queries)
    episodes = group_failures(queries, order)
    pictures = _pictures(run, order, budget)
    results, metrics = run.results, run.results.measures
    route, points = _route(run)
    curve = run.replayed.accumulator.curve()
    return {
        'results': results, 'metrics': metrics, 'unit': metrics.unit,
        'title': _title(results),
        'summary': summary_rows(results),
        'script': resource('report.js'),
        'data': _embedded(_data(run, order, points, pictures)),
        'route': route,
        'legend': [(name, OUTCOMES[name], count, Markup(svg.glyph(name, 10, 10, 6)))
                   for name, count in metrics.outcomes if count],
        'method': results.settings.method,
        'precision_recall': None if curve is None else plots.precision_recall_plot(
            curve, metrics.accepted),
        'recall': plots.recall_plot(metrics.recall, metrics.recall_by_distance),
        'reliability': plots.reliability_plot(metrics.calibration),
        'belief': _belief(run),
        'matrix': _matrix(run),
        'worst': [_failure(run, episode, pictures) for episode in episodes[:_WORST]],
        'reasons': reason_rows(metrics.reasons, results.settings.method),
        'tiles': [tile for tile in results.map.tiles or ()
                  if tile.in_tile or tile.accepted],
        'failures': len(order), 'episodes': len(episodes),
        'settings': yaml.safe_dump(results.settings.as_json(), sort_keys=False, width=80),
        'shapes': {name: Markup(svg.glyph(name, 10, 10, 6)) for name in OUTCOMES}}


def _title(results: ReplayResults) -> str:
    queries = ', '.join(Path(name).name for name in results.drives.queries.sources)
    return f'{queries} in {results.map.source.split("/")[-1] or "the map"}'


def worst_first(queries: Sequence[Query]) -> list[int]:
    """Return the failures, by how much they matter: wrong places, then places not found.

    Within each kind the largest errors come first.
    """
    failed = [row for row, query in enumerate(queries) if query.judged.outcome in _SEVERITY]

    def weight(row: int) -> tuple[int, float, int]:
        judged = queries[row].judged
        error = float(judged.judgement.errors[0])
        return (_SEVERITY[judged.outcome], -error if np.isfinite(error) else -1e18, row)

    return sorted(failed, key=weight)


def group_failures(queries: Sequence[Query], order: Sequence[int]) -> list[list[int]]:
    """Put failures of one kind that follow each other together, the worst of each first."""
    runs: list[list[int]] = []
    for row in sorted(order):
        before = runs[-1][-1] if runs else None
        same = before == row - 1 and queries[before].judged.outcome == queries[row].judged.outcome
        if same:
            runs[-1].append(row)
        else:
            runs.append([row])
    rank = {row: position for position, row in enumerate(order)}
    return sorted((sorted(found, key=rank.__getitem__) for found in runs),
                  key=lambda found: rank[found[0]])


def _pictures(run: EvaluationRun, order: Sequence[int], budget: int) -> Pictures:
    """Keep pictures of queries, of found places and of true places; failures come first."""
    queries, frames = run.replayed.queries, run.mapped.place_frames
    rows = [*order, *(row for row, query in enumerate(queries) if query.judged.searched),
            *range(len(queries))]
    asked = [queries[row].number for row in rows]
    found = [int(frames[place]) for row in rows for place in _places(queries[row])]
    return Pictures([(run.queries, asked), (run.maps, [one for one in found if one >= 0])], budget)


def _places(query: Query) -> list[int]:
    """Return the places to show with a query: the best one, and the true one if it differs."""
    best = query.judged.result.best
    places = [] if best is None else [query.place]
    truth = query.judged.judgement.true_place
    if truth >= 0 and best is not None and not query.judged.right:
        places.append(truth)
    return places


def _route(run: EvaluationRun) -> tuple[Markup, np.ndarray]:
    queries = run.replayed.queries
    posed = run.replayed.accumulator.unit == 'm'
    nowhere = (np.nan, np.nan)
    truth = np.array([nowhere if query.truth is None else query.truth[:2]
                      for query in queries]).reshape(-1, 2)
    travelled = np.array([query.judged.travelled for query in queries])
    positions = layout(truth if posed else None, travelled)
    places = run.mapped.truth[:, :2] if posed else None
    found = np.full((len(queries), 2), np.nan)
    if places is not None:
        for row, query in enumerate(queries):
            if query.judged.outcome == 'wrong' and query.place >= 0:
                found[row] = places[query.place]
    drawn = RouteMap(positions, places, run.mapped.starts[1:-1].tolist())
    outcomes = [query.judged.outcome for query in queries]
    return drawn.draw(outcomes, found, run.replayed.accumulator.unit), drawn.points(positions)


def _belief(run: EvaluationRun) -> dict[str, Any] | None:
    """Return the charts of the place filter; None where it did not run."""
    history, queries = run.replayed.belief, run.replayed.queries
    if history is None:
        return None
    return {'probabilities': probability_chart(queries), 'map': belief_map(history, queries),
            'stride': history.stride}


def _matrix(run: EvaluationRun) -> Markup | None:
    rows = run.described
    if not len(rows):
        return None
    places = run.mapped.compared_frames()
    position = np.full(len(run.replayed.queries), -1)
    position[rows] = np.arange(len(rows))
    searched = [row for row, query in enumerate(run.replayed.queries)
                if query.judged.searched and position[row] >= 0]
    searched = searched[:: len(searched) // _MOST_MARKS + 1]
    queries = [run.replayed.queries[row] for row in searched]
    return draw_matrix(
        similarity_picture(run.descriptors, places), position[searched].tolist(),
        [query.place for query in queries],
        [query.judged.outcome for query in queries], (len(rows), len(run.mapped)),
        ('queries', 'places of the map'))


def _data(run: EvaluationRun, order: Sequence[int], points: np.ndarray,
          pictures: Pictures) -> dict[str, Any]:
    """Return what the scrubber needs; rows are lists to keep them short, see report.js."""
    queries, frames = run.replayed.queries, run.mapped.place_frames
    asked, found = pictures.found
    rows = []
    for query, (x, y) in zip(queries, points, strict=True):
        judged, best = query.judged, query.judged.result.best
        shown = [int(frames[place]) for place in _places(query)]
        true_frame = shown[1] if len(shown) > 1 else -1
        rows.append([
            query.number, judged.outcome, judged.result.reason.name.lower(),
            _rounded(judged.travelled, 1),
            _place_label(run, query), shown[0] if shown else -1, true_frame,
            None if best is None else _rounded(best.score, 3),
            None if best is None else _rounded(best.sequence_distance, 3),
            None if best is None else _rounded(float(judged.judgement.errors[0]), 2),
            _rounded(x, 1), _rounded(y, 1)])
    return {'rows': rows, 'worst': list(order), 'unit': run.replayed.accumulator.unit,
            'meanings': OUTCOMES,
            'pictures': [{number: data_uri(('image/webp', content))
                          for number, content in sorted(side.items())} for side in (asked, found)]}


def _place_label(run: EvaluationRun, query: Query) -> int | str:
    """Return the number of the best place, -1 without any; of a collection after its tile."""
    if query.place < 0 or not run.mapped.names:
        return query.place
    tile, place = run.mapped.tile_place(query.place)
    return f'{place} of {run.mapped.names[tile]}'


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _embedded(data: dict[str, Any]) -> Markup:
    """Return data as JSON that cannot end the script element around it."""
    text = json.dumps(data, separators=(',', ':'), allow_nan=False)
    return Markup(text.replace('<', '\\u003c'))


def _failure(run: EvaluationRun, episode: Sequence[int], pictures: Pictures) -> dict[str, Any]:
    row = episode[0]
    first, last = (run.replayed.queries[end].number for end in (min(episode), max(episode)))
    query = run.replayed.queries[row]
    judged, best = query.judged, query.judged.result.best
    assert best is not None
    frames = run.mapped.place_frames
    error = float(judged.judgement.errors[0])
    return {
        'row': row, 'outcome': judged.outcome, 'meaning': OUTCOMES[judged.outcome],
        'number': query.number, 'first': first, 'last': last, 'count': len(episode),
        'place': _place_label(run, query), 'score': best.score,
        'travelled': judged.travelled, 'error': error if np.isfinite(error) else None,
        'query': _uri(pictures.found[0], query.number),
        'found': _uri(pictures.found[1], int(frames[query.place]))}


def _uri(found: dict[int, bytes], number: int) -> str | None:
    return data_uri(('image/webp', found[number])) if number in found else None
