"""The similarity matrix: every query frame against every place, and the path that was found."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from seqnet_ros.evaluation.metrics.localization_metrics import OUTCOMES
from seqnet_ros.evaluation.replay.reference_places import spread_rows
from seqnet_ros.evaluation.report import svg
from seqnet_ros.evaluation.report.pictures import data_uri, png

_EDGE = 640
_LOW, _HIGH = 1.0, 99.8
_CROWD = 800


def similarity_picture(queries: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the similarities as an image, places to the right, queries downward, white is alike.

    Args:
        queries: float32 ``[Q, D]``, unit vectors.
        places: float32 ``[N, D]``, unit vectors.

    Returns:
        uint8 of at most `_EDGE` pixels each way; where there are more frames, a pixel shows the
        best of its frames.
    """
    rows = spread_rows(len(queries))
    chosen = places[spread_rows(len(places))]
    strips = []
    for part in np.array_split(rows, max(1, len(rows) // 512)):
        strips.append(_pool(queries[part] @ chosen.T, axis=1))
    values = _pool(np.concatenate(strips), axis=0)
    low, high = np.percentile(values, [_LOW, _HIGH])
    scaled = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
    return np.rint(255 * scaled).astype(np.uint8)


def _pool(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest of each of at most `_EDGE` equal parts."""
    count = values.shape[axis]
    if count <= _EDGE:
        return values
    edges = np.linspace(0, count, _EDGE + 1).astype(int)[:-1]
    return np.maximum.reduceat(values, edges, axis=axis)


def draw_matrix(picture: np.ndarray, rows: Sequence[int], places: Sequence[int],
                outcomes: Sequence[str], size: tuple[int, int], labels: tuple[str, str]) -> Markup:
    """Draw the matrix and, on it, the best place of each query.

    Args:
        picture: what `similarity_picture` returns.
        rows: of each result, its row among the queries of the matrix.
        places: of each result, its best place.
        outcomes: of each result.
        size: number of queries and of places.
        labels: labels of the side and of the top.
    """
    width = 640.0
    height = float(np.clip(width * size[0] / size[1], 240, 720))
    left, top = 26.0, 22.0
    crowded = len(rows) > _CROWD
    content = (f'<image href="{data_uri(png(picture))}" x="{left}" y="{top}" '
               f'width="{svg.num(width)}" height="{svg.num(height)}" preserveAspectRatio="none" '
               f'class="crisp"/><g class="{"crowded" if crowded else ""}">')
    for outcome in reversed(OUTCOMES):
        marks = ''.join(
            svg.glyph(outcome, left + width * (place + 0.5) / size[1],
                      top + height * (row + 0.5) / size[0], 1.5 if crowded else 2.6)
            for row, place, name in zip(rows, places, outcomes, strict=True) if name == outcome)
        content += f'<path class="o-{outcome}" d="{marks}"/>'
    content += '</g>'
    content += svg.text(left + width / 2, 14, labels[1], css='label')
    content += (f'<text class="label" text-anchor="middle" transform="translate(15 '
                f'{svg.num(top + height / 2)}) rotate(-90)">{labels[0]}</text>')
    return svg.drawing(
        width + left + 4, height + top + 4, 'Similarity of every query to every place',
        'Bright means similar. A bright diagonal is the common route; marks are the places found.',
        content)
