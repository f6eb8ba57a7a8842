"""Methods of the SeqNet paper, measured on one pair of drives."""

import logging
from dataclasses import dataclass

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.utm_grid import are_degrees
from seqnet_ros.evaluation.metrics.search_run import SearchRun, run_search
from seqnet_ros.evaluation.seqnet.evaluated_drives import ArrayChoice, DatasetChoice, Drives
from seqnet_ros.evaluation.seqnet.method_names import ALL
from seqnet_ros.evaluation.seqnet.search_plans import (
    LoadRun,
    MethodChoice,
    Plan,
    plan_all,
    plan_method,
)

_SAMPLED = 100

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeqNetRequest:
    """Options of an evaluation.

    Attributes:
        method: the method, or all of them.
        drives: where the drives come from.
        reverse: the query was driven in the opposite direction.
        compat: windows of too short sequences spill over, as in the published code.
        full_windows: skip frames whose window of this length does not fit; None as published.
    """

    method: MethodChoice
    drives: DatasetChoice | ArrayChoice
    reverse: bool = False
    compat: bool = False
    full_windows: int | None = None


@dataclass(frozen=True, eq=False)
class SeqNetEvaluation:
    """Methods that are ready to be measured.

    Attributes:
        plans: one for each method.
        left_out: why methods cannot be measured, by name.
        drives: what they search.
        full_windows: length of the windows that must fit; None where all frames stay.
        compat: see `SeqNetRequest`.
    """

    plans: list[Plan]
    left_out: dict[str, str]
    drives: Drives
    full_windows: int | None
    compat: bool

    def search(self, plan: Plan) -> SearchRun:
        """Search with one of the plans.

        Raises:
            InputError: the drives do not fit the method.
        """
        drives = self.drives
        found = run_search(lambda: plan.search(drives, self.compat), *drives.positions,
                           drives.radius, drives.truth)
        if drives.note:
            _logger.warning('%s', drives.note)
        if _are_same(drives.reference.descriptors, drives.query.descriptors):
            _logger.warning('reference and query are the same descriptors, so recall says nothing '
                            'about other drives')
        return found


def _are_same(reference: np.ndarray, query: np.ndarray) -> bool:
    """Compare the shapes and a sample of rows, which may be memory-mapped."""
    if reference.shape != query.shape:
        return False
    rows = np.unique(np.linspace(0, len(query) - 1, _SAMPLED).astype(int))
    return np.array_equal(reference[rows], query[rows])


def prepare_evaluation(request: SeqNetRequest, load_run: LoadRun) -> SeqNetEvaluation:
    """Read weights and drives.

    Args:
        request: what to measure.
        load_run: reads the weights of a training run, such as `training.seqnet.run.load_run`.

    Raises:
        InputError: a setting does not apply to the method, or a file is missing or damaged.
        ModelError: weights are damaged or not SeqNet's.
    """
    choice = request.method
    plans, left_out = (plan_all(choice, load_run) if choice.method == ALL
                       else ([plan_method(choice, load_run)], {}))
    drives = request.drives.open(request.reverse)
    if drives.unit == 'm' and are_degrees(drives.positions[0][:, :2]):
        raise InputError(f'the reference positions, such as {drives.positions[0][0, :2].tolist()}, '
                         'look like degrees, expected meters')
    full_windows = request.full_windows
    if full_windows is None and drives.published_with_full_windows:
        full_windows = max(plan.longest for plan in plans)
    if full_windows is not None:
        if full_windows < 1:
            raise InputError(f'--full-windows is {full_windows}, expected 1 or more')
        drives = drives.with_full_windows(full_windows)
    return SeqNetEvaluation(plans, left_out, drives, full_windows, request.compat)
