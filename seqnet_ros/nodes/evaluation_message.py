"""The metrics of an evaluation as a message."""

from std_msgs.msg import Header

from seqnet_ros.evaluation.live_evaluation import LiveEvaluation
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.metrics.metric_fields import METRIC_FIELDS
from seqnet_ros.msg import Evaluation
from seqnet_ros.nodes.conversions import stamp_from_ns

_ANY_HEADING_DEG = 180.0
_FIRST_FIX = {None: Evaluation.FIRST_FIX_UNKNOWN, True: Evaluation.FIRST_FIX_RIGHT,
              False: Evaluation.FIRST_FIX_WRONG}


def evaluation_to_message(evaluation: LiveEvaluation, metrics: LocalizationMetrics, frame_id: str,
                          unusable: int) -> Evaluation:
    """Return the metrics as a message; unknown values are NaN.

    Args:
        evaluation: the evaluation.
        metrics: its metrics.
        frame_id: the frame of the newest match.
        unusable: number of ignored matches.
    """
    tolerance = evaluation.tolerance
    return Evaluation(
        header=Header(stamp=stamp_from_ns(evaluation.last_stamp_ns), frame_id=frame_id),
        since=stamp_from_ns(evaluation.first_stamp_ns), map_id=','.join(evaluation.map_ids),
        tolerance_m=float(tolerance.value),
        tolerance_deg=_ANY_HEADING_DEG if tolerance.degrees is None else float(tolerance.degrees),
        waiting_for_truth=int(evaluation.waiting), unusable=int(unusable),
        most_candidates=int(evaluation.most_candidates),
        first_fix=int(_FIRST_FIX[metrics.first_fix.right]),
        **{field.name: field.value(metrics) for field in METRIC_FIELDS})
