"""The numbers of an evaluation as a message."""

from collections.abc import Callable
from typing import Any

from std_msgs.msg import Header

from seqnet_ros.evaluation.live import LiveEvaluation
from seqnet_ros.evaluation.measures import RECALL_NS
from seqnet_ros.msg import Evaluation
from seqnet_ros.nodes.conversions import stamp_from_ns

_ANY_HEADING_DEG = 180.0
_FIRST_FIX = {None: Evaluation.FIRST_FIX_UNKNOWN, True: Evaluation.FIRST_FIX_RIGHT,
              False: Evaluation.FIRST_FIX_WRONG}


def evaluation_to_message(evaluation: LiveEvaluation, numbers: dict[str, Any], frame_id: str,
                          unusable: int) -> Evaluation:
    """Return how good the localizer is as a message; what is not known is NaN.

    Args:
        evaluation: who judged.
        numbers: its measures.
        frame_id: the frame of the newest match.
        unusable: how many matches were left out.
    """
    tolerance = evaluation.tolerance
    message: Any = Evaluation(
        header=Header(stamp=stamp_from_ns(evaluation.last_stamp_ns), frame_id=frame_id),
        since=stamp_from_ns(evaluation.first_stamp_ns), map_id=','.join(evaluation.map_ids),
        tolerance_m=float(tolerance.value),
        tolerance_deg=_ANY_HEADING_DEG if tolerance.degrees is None else float(tolerance.degrees),
        results=int(numbers['results']), waiting_for_truth=int(evaluation.waiting),
        unusable=int(unusable), most_candidates=int(evaluation.most_candidates))
    for fill in (_fill_counts, _fill_accepted, _fill_recall, _fill_route):
        fill(message, numbers)
    message.calibration_error = _number(numbers['calibration']['expected_error'])
    return message


def _fill_counts(message: Any, numbers: dict[str, Any]) -> None:
    queries, outcomes, elsewhere = (
        numbers[name] for name in ('queries', 'outcomes', 'not_in_map'))
    _set(message, int, searched=queries['searched'], with_truth=queries['with_truth'],
         in_map=queries['in_map'])
    _set(message, int, hits=outcomes['hit'], wrong=outcomes['wrong'], missed=outcomes['missed'],
         lost=outcomes['lost'], elsewhere=outcomes['elsewhere'],
         not_searched=outcomes['waiting'], unknown=outcomes['unknown'])
    _set(message, int, not_in_map_searched=elsewhere['searched'],
         not_in_map_accepted=elsewhere['accepted'])
    message.not_in_map_rate = _number(elsewhere['rate'])


def _fill_accepted(message: Any, numbers: dict[str, Any]) -> None:
    accepted, searched = numbers['accepted'], numbers['queries']['searched']
    message.accepted = int(accepted['results'])
    _set(message, _number, precision=accepted['precision'], recall=accepted['recall'],
         accepted_share=accepted['results'] / searched if searched else None,
         error_median=accepted['error']['median'], error_p90=accepted['error']['p90'],
         error_worst=accepted['error']['worst'])


def _fill_recall(message: Any, numbers: dict[str, Any]) -> None:
    for name in ('recall', 'recall_by_distance'):
        _set(message, _number, **{f'{name}_at_{n}': numbers[name][str(n)] for n in RECALL_NS})
    curve = numbers['precision_recall'] or {}
    _set(message, _number, precision_recall_area=curve.get('area'), best_f1=curve.get('best_f1'),
         recall_at_precision_100=curve.get('recall_at_precision_100'),
         recall_at_precision_99=curve.get('recall_at_precision_99'))


def _fill_route(message: Any, numbers: dict[str, Any]) -> None:
    route, first = numbers['route'], numbers['first_fix']
    _set(message, _number, travelled=route['travelled'],
         travelled_with_truth=route['with_truth'], travelled_in_map=route['in_map'],
         localized_share=route['localized'], longest_without=route['longest_without'],
         first_fix_seconds=first['seconds'], first_fix_distance=first['distance'])
    message.first_fix = int(_FIRST_FIX[first['right']])


def _set(message: Any, convert: Callable[[Any], Any], **values: Any) -> None:
    for name, value in values.items():
        setattr(message, name, convert(value))


def _number(value: float | None) -> float:
    return float('nan') if value is None else float(value)
