"""The plots of the report: precision and recall, recall by candidates, reliability of scores."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup

from seqnet_ros.evaluation.metrics.localization_metrics import AcceptedPlaces, Calibration
from seqnet_ros.evaluation.metrics.precision_recall import PrecisionRecall
from seqnet_ros.evaluation.replay.verdict import percent
from seqnet_ros.evaluation.report import svg


def precision_recall_plot(curve: PrecisionRecall, accepted: AcceptedPlaces) -> Markup:
    """Draw the curve and the operating point of the localizer."""
    axes = svg.Axes('recall', 'precision')
    ticks = svg.SHARES
    points = svg.thin(np.stack([curve.recall, curve.precision], axis=1))
    content = axes.frame(ticks, ticks) + svg.polyline(
        [(axes.x(recall), axes.y(precision)) for recall, precision in points], 'curve')
    described = f'Area {curve.average_precision:.3f}, best F1 {curve.best_f1:.3f}.'
    if accepted.precision is not None and accepted.recall is not None:
        x, y = axes.x(min(accepted.recall, 1.0)), axes.y(accepted.precision)
        content += f'<path class="mark" d="{svg.glyph("elsewhere", x, y, 6)}"/>'
        beside, anchor = (x + 10, 'start') if x < axes.width - 90 else (x - 10, 'end')
        content += svg.text(beside, y + 4, 'as accepted', anchor, 'tick')
        described += (f' As accepted: precision {percent(accepted.precision)}, recall '
                      f'{percent(accepted.recall)}.')
    return svg.drawing(axes.width, axes.height, 'Precision and recall', described, content)


def recall_plot(recall: Mapping[int, float | None],
                by_distance: Mapping[int, float | None]) -> Markup:
    """Draw the share of searches with a correct place among the first candidates."""
    names = list(recall)
    axes = svg.Axes('candidates that count', 'recall', x_ends=(-0.5, len(names) - 0.5))
    content = axes.frame([(at, str(name)) for at, name in enumerate(names)], svg.SHARES)
    for at, name in enumerate(names):
        for shift, values, css in ((-0.19, recall, 'bar'), (0.19, by_distance, 'bar second')):
            value = values[name] or 0.0
            left, top = axes.x(at + shift - 0.17), axes.y(value)
            content += (f'<rect class="{css}" x="{svg.num(left)}" y="{svg.num(top)}" '
                        f'width="{svg.num(axes.x(0.34) - axes.x(0))}" '
                        f'height="{svg.num(axes.y(0) - top)}"/>')
            content += svg.text(axes.x(at + shift), top - 3 if value < 0.93 else top + 12,
                                f'{value:.2f}', css='value' if value < 0.93 else 'value inside')
    described = ', '.join(f'{percent(value)} at {name}' for name, value in recall.items())
    return svg.drawing(axes.width, axes.height, 'Recall by number of candidates', described,
                       content)


def reliability_plot(calibration: Calibration) -> Markup:
    """Draw how often matches of a score are correct; the diagonal is perfect calibration."""
    axes = svg.Axes('score', 'share of correct places')
    content = axes.frame(svg.SHARES, svg.SHARES)
    content += svg.polyline([(axes.x(0), axes.y(0)), (axes.x(1), axes.y(1))], 'ideal')
    most = max(calibration.counts)
    points = []
    for count, score, right in zip(calibration.counts, calibration.scores, calibration.right,
                                   strict=True):
        if score is not None and right is not None:
            points.append((axes.x(score), axes.y(right)))
            radius = 3 + 6 * float(np.sqrt(count / most))
            content += (f'<circle class="mark" cx="{svg.num(points[-1][0])}" '
                        f'cy="{svg.num(points[-1][1])}" r="{svg.num(radius)}"/>')
    content += svg.polyline(points, 'curve')
    error = calibration.expected_error
    described = 'Larger circles represent more matches.'
    if error is not None:
        described += f' Expected calibration error {error:.3f}.'
    return svg.drawing(axes.width, axes.height, 'Reliability of the score', described, content)
