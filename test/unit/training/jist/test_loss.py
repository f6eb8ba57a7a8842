"""The losses of JIST: those of the published code, to the last digits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqnet_ros.training.cosplace.cosface import CosFace
from seqnet_ros.training.jist.loss import sequence_triplet_loss


def classifier(weight: torch.Tensor, *scale_and_margin: float) -> CosFace:
    made = CosFace(weight.shape[1], len(weight), *scale_and_margin)
    made.weight.data = weight.clone()
    return made


class TestCosFace:
    @pytest.mark.parametrize('case', ['unit', 'raw', 'edge', 'other'])
    def test_it_is_the_published_one(self, shared_golden, case):
        golden = np.load(shared_golden / 'jist' / 'losses' / 'cosface.npz')
        descriptors, labels, weight, scale_and_margin, logits, loss, by_weight = (
            torch.from_numpy(golden[f'{case}_{name}']) for name in (
                'embeddings', 'labels', 'weight', 's_m', 'logits', 'loss', 'grad_weight'))
        made = classifier(weight, *scale_and_margin.tolist())
        descriptors.requires_grad_()
        torch.testing.assert_close(made(descriptors, labels), logits, atol=3e-5, rtol=0)
        found = made.loss(descriptors, labels) / len(labels)
        torch.testing.assert_close(found, loss, atol=0, rtol=1e-5)
        torch.testing.assert_close(100 * found, torch.from_numpy(golden[f'{case}_loss_x100']),
                                   atol=0, rtol=1e-5)
        found.backward()
        torch.testing.assert_close(made.weight.grad, by_weight, atol=1e-5, rtol=1e-4)
        if case != 'edge':
            torch.testing.assert_close(
                descriptors.grad, torch.from_numpy(golden[f'{case}_grad_embeddings']),
                atol=1e-5, rtol=1e-4)

    @given(seed=st.integers(0, 1000), classes=st.integers(2, 9), count=st.integers(1, 6))
    def test_it_is_the_formula(self, seed, classes, count):
        random = np.random.default_rng(seed)
        weight, descriptors = random.normal(size=(classes, 4)), random.normal(size=(count, 4))
        labels = random.integers(0, classes, count)
        total = 0.0
        for descriptor, label in zip(descriptors, labels, strict=True):
            cosines = [descriptor @ row / np.linalg.norm(descriptor) / np.linalg.norm(row)
                       for row in weight]
            cosines[label] -= 0.4
            total += np.logaddexp.reduce(30 * np.array(cosines)) - 30 * cosines[label]
        made = classifier(torch.from_numpy(weight))
        loss = made.loss(torch.from_numpy(descriptors), torch.from_numpy(labels))
        assert float(loss.detach()) == pytest.approx(total, rel=1e-6, abs=1e-6)

    def test_weights_start_as_xavier_has_them(self):
        weight = CosFace(100, 500).weight
        bound = (6 / 600) ** 0.5
        assert bound * 0.99 < weight.max() <= bound
        assert -bound <= weight.min() < -bound * 0.99
        assert dict(CosFace(4, 5).named_parameters()).keys() == {'weight'}


class TestTriplets:
    @pytest.mark.parametrize('case', ['gem', 'unit', 'edge', 'neg10'])
    def test_it_is_the_published_one(self, shared_golden, case):
        golden = np.load(shared_golden / 'jist' / 'losses' / 'triplet.npz')
        descriptors = torch.from_numpy(golden[f'{case}_desc']).requires_grad_()
        queries, positives, negatives = (
            descriptors[:, 0], descriptors[:, 1], descriptors[:, 2:])
        total = sequence_triplet_loss(queries, positives, negatives, float(golden['margin']))
        loss = 10_000 * total / negatives[..., 0].numel()
        assert float(loss.detach()) == pytest.approx(float(golden[f'{case}_loss']), rel=1e-5)
        loss.backward()
        torch.testing.assert_close(descriptors.grad, torch.from_numpy(golden[f'{case}_grad']),
                                   atol=1e-3, rtol=1e-4)

    @given(seed=st.integers(0, 1000), batch=st.integers(1, 4), count=st.integers(1, 5))
    def test_it_is_the_formula(self, seed, batch, count):
        random = np.random.default_rng(seed)
        queries, positives = random.normal(size=(2, batch, 3))
        negatives = random.normal(size=(batch, count, 3))
        total = 0.0
        for query, positive, others in zip(queries, positives, negatives, strict=True):
            near = np.linalg.norm(query - positive + 1e-6)
            total += sum(max(0.0, near - np.linalg.norm(query - other + 1e-6) + 0.5)
                         for other in others)
        found = sequence_triplet_loss(*map(torch.from_numpy, (queries, positives, negatives)), 0.5)
        assert float(found) == pytest.approx(total, rel=1e-9, abs=1e-9)

    def test_shares_of_a_step_add_up(self):
        queries, positives, negatives = torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 5, 8)
        whole = sequence_triplet_loss(queries, positives, negatives, 0.1)
        shares = [sequence_triplet_loss(queries[rows], positives[rows], negatives[rows], 0.1)
                  for rows in (slice(0, 3), slice(3, 4))]
        torch.testing.assert_close(sum(shares), whole)
