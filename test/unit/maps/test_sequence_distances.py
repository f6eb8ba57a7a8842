"""Distances of sequence descriptors."""

from types import SimpleNamespace

import numpy as np
import pytest

from seqnet_ros.maps.sequence_distances import SequenceDistances


@pytest.mark.parametrize('all_places', [True, False])
@pytest.mark.parametrize('places', [None, np.array([4, 0, 7])])
def test_distances_are_those_of_vectors_of_any_length(all_places, places):
    rng = np.random.default_rng(0)
    sequences = rng.normal(size=(9, 5)).astype(np.float32)
    described = rng.normal(size=5).astype(np.float32)
    found = SequenceDistances(SimpleNamespace(sequences=sequences), all_places).to(
        described, places)
    rows = sequences if places is None else sequences[places]
    np.testing.assert_allclose(found, np.linalg.norm(rows - described, axis=1), rtol=1e-5)


def test_a_sequence_is_at_no_distance_from_itself():
    sequences = np.eye(3, dtype=np.float32) * 1e3
    distances = SequenceDistances(SimpleNamespace(sequences=sequences), True)
    assert distances.to(sequences[1])[1] == 0.0
