"""Training and validation data of SeqNet: two drives and their ground truth."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.db_struct import DbStruct
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth, matches_within
from seqnet_ros.evaluation.seqnet.drives import Drive, row_positions


@dataclass(frozen=True, eq=False)
class DrivePair:
    """Two drives along one route, with positions.

    Attributes:
        reference: reference drive.
        query: query drive.
        db_positions: float64 ``[N, K]``, of the rows of the reference.
        q_positions: float64 ``[M, K]``, of the rows of the query.
        radius: places within this distance (inclusive) are the same.
        positive_radius: positives for training are within this distance (inclusive).
    """

    reference: Drive
    query: Drive
    db_positions: np.ndarray
    q_positions: np.ndarray
    radius: float
    positive_radius: float

    @classmethod
    def of(cls, struct: DbStruct, reference: Drive, query: Drive) -> 'DrivePair':
        """Join drives with the struct of all their frames.

        If the struct has no radius of positives, its radius is used.

        Raises:
            InputError: the struct has other numbers of frames.
        """
        positions = row_positions(struct, reference, query)
        positive = struct.radius if struct.positive_radius is None else struct.positive_radius
        return cls(reference, query, *positions, struct.radius, positive)

    def truth(self) -> GroundTruth:
        """Return the references that show the place of each query."""
        return matches_within(self.db_positions, self.q_positions, self.radius)

    def positives(self) -> GroundTruth:
        """Return the references that are positives of each query."""
        return matches_within(self.db_positions, self.q_positions, self.positive_radius)


def hold_out(pair: DrivePair, share: float) -> tuple[DrivePair, DrivePair]:
    """Split a stretch off the end of the query drive to validate on.

    The references that show the stretch belong to it. Everything else within the radius of the
    stretch is used for neither part, and sequences end where frames were removed, so that training
    sees no frame and no place of the validation. A match of the validation is within the radius of
    positives, which is stricter than the radius of the same place.

    Args:
        pair: two drives.
        share: part of the queries to validate on, above 0 and below 1.

    Returns:
        The training data and the validation data.

    Raises:
        InputError: the share is out of range, or leaves nothing for one of the two.
    """
    if not 0 < share < 1:
        raise InputError(f'the share held out is {share:g}, expected above 0 and below 1')
    count = len(pair.query.rows)
    q_held = np.arange(count) >= count - max(1, round(share * count))
    stretch = pair.q_positions[q_held]
    db_held = _near(pair.db_positions, stretch, pair.radius)
    taken = np.concatenate([stretch, pair.db_positions[db_held]])
    training = _part(pair, ~_near(pair.db_positions, taken, pair.radius),
                     ~_near(pair.q_positions, taken, pair.radius) & ~q_held)
    validation = _part(pair, db_held, q_held)
    for what, part in (('training', training), ('validation', validation)):
        if not len(part.reference.rows) or not len(part.query.rows):
            raise InputError(f'holding out {share:g} of {count} queries leaves '
                             f'{len(part.reference.rows)} references and {len(part.query.rows)} '
                             f'queries for {what}, expected some of both: pass a validation split '
                             'or another share')
    return training, replace(validation, radius=pair.positive_radius)


def _near(positions: np.ndarray, others: np.ndarray, radius: float) -> np.ndarray:
    if not len(others):
        return np.zeros(len(positions), dtype=bool)
    nearest, _ = cKDTree(others).query(positions)
    return nearest <= radius


def _part(pair: DrivePair, db_kept: np.ndarray, q_kept: np.ndarray) -> DrivePair:
    return replace(
        pair, reference=pair.reference.cut_to(db_kept), query=pair.query.cut_to(q_kept),
        db_positions=pair.db_positions[db_kept], q_positions=pair.q_positions[q_kept])
