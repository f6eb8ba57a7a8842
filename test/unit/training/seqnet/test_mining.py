"""Mining and loss of SeqNet: the choices and the steps of the published code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.sequences.windows import centred_windows
from seqnet_ros.training.seqnet.loss import triplet_loss
from seqnet_ros.training.seqnet.mining import NONE, draw_negatives, mine


def rows(indptr: np.ndarray, indices: np.ndarray, queries: np.ndarray) -> tuple:
    """Select some rows of a CSR list."""
    chosen = [indices[indptr[query]: indptr[query + 1]] for query in queries]
    counts = np.cumsum([0, *map(len, chosen)])
    return torch.from_numpy(counts), torch.from_numpy(np.concatenate(chosen).astype(np.int64))


@pytest.mark.parametrize('name', ['mining_a', 'mining_b'])
def test_choices_are_those_of_the_published_code(shared_golden: Path, name: str) -> None:
    golden = np.load(shared_golden / 'seqnet' / f'{name}.npz')
    features = torch.from_numpy(golden['features'])
    references, asking = features[:golden['numDb']], features[golden['numDb']:]
    positives = rows(golden['positives_indptr'], golden['positives_indices'], golden['queries'])
    for visit in range(3):
        candidates = torch.from_numpy(np.concatenate(
            [golden['negSample'][visit], golden['memoryIn'][visit]], axis=1).astype(np.int64))
        found = mine(references, asking[golden['queries']], *positives, candidates,
                     float(golden['margin']))
        skipped = golden['skipped'][visit]
        np.testing.assert_array_equal(found.usable.numpy(), ~skipped)
        np.testing.assert_array_equal(
            found.positives.numpy()[~skipped], golden['posIndex'][visit][~skipped])
        np.testing.assert_array_equal(
            found.negatives.numpy()[~skipped], golden['negIndex'][visit][~skipped])
    assert not golden['skipped'].all()


def test_three_steps_end_with_the_weights_of_the_published_code(shared_golden: Path) -> None:
    folder = shared_golden / 'seqnet'
    golden = np.load(folder / 'train_steps.npz')
    struct = read_struct(folder / 'struct_train.db')
    frames = [np.load(folder / f'{name}.npy') for name in ('ref', 'query')]
    bounds = [np.loadtxt(folder / f'seqbounds_{name}.txt', dtype=int) for name in ('ref', 'query')]
    windows = [centred_windows(bound, int(golden['seqL']), compat=True) for bound in bounds]
    margin, queries = float(golden['margin']), golden['queries']
    near = cKDTree(struct.db_positions).query_ball_point(
        struct.q_positions[queries], struct.positive_radius, return_sorted=True)
    indptr = torch.from_numpy(np.cumsum([0, *map(len, near)]))
    indices = torch.from_numpy(np.concatenate(near).astype(np.int64))

    model = SeqNet(64, 48, int(golden['w']))
    model.load_state_dict({'conv.weight': torch.from_numpy(golden['weight'][0]),
                           'conv.bias': torch.from_numpy(golden['bias'][0])})
    optimizer = torch.optim.SGD(model.parameters(), lr=float(golden['lr']),
                                momentum=float(golden['momentum']),
                                weight_decay=float(golden['weightDecay']))
    remembered = np.full((8, 10), NONE)
    for step in range(3):
        cache = [torch.from_numpy(aggregate(model, array, window))
                 for array, window in zip(frames, windows, strict=True)]
        candidates = torch.from_numpy(np.concatenate(
            [golden['negSample'][step], remembered], axis=1).astype(np.int64))
        found = mine(cache[0], cache[1][queries], indptr, indices, candidates, margin)
        np.testing.assert_array_equal(found.positives, golden['posIndex'][step])
        np.testing.assert_array_equal(found.negatives, golden['negIndex'][step])
        remembered = found.negatives.numpy()

        row, column = np.nonzero(remembered != NONE)
        assert len(row) == golden['nNeg'][step]

        def describe(side: int, which: np.ndarray) -> torch.Tensor:
            return model(torch.from_numpy(frames[side][windows[side][which]]))

        loss = triplet_loss(
            describe(1, queries)[row], describe(0, found.positives.numpy())[row],
            describe(0, remembered[row, column]), margin)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(golden['loss'][step], abs=1e-6)
        np.testing.assert_allclose(
            model.conv.weight.detach(), golden['weight'][step + 1], atol=1e-7)
        np.testing.assert_allclose(model.conv.bias.detach(), golden['bias'][step + 1], atol=1e-7)


def case(queries: int = 40, references: int = 300) -> tuple:
    generator = torch.Generator().manual_seed(3)
    unit = torch.nn.functional.normalize
    db = unit(torch.randn(references, 16, generator=generator))
    asking = unit(torch.randn(queries, 16, generator=generator))
    indptr = torch.arange(queries + 1) * 3
    indices = torch.randint(references, (3 * queries,), generator=generator)
    candidates = torch.randint(references, (queries, 50), generator=generator)
    return db, asking, indptr, indices, candidates


def test_mining_is_the_plain_rule() -> None:
    db, asking, indptr, indices, candidates = case()
    candidates[:, 40:] = NONE
    found = mine(db, asking, indptr, indices, candidates, margin=0.1)
    for query in range(len(asking)):
        distances = torch.linalg.norm(db.double() - asking[query].double(), dim=1)
        allowed = indices[indptr[query]: indptr[query + 1]]
        positive = allowed[distances[allowed].argmin()]
        rivals = candidates[query, :40].unique()
        rivals = rivals[distances[rivals].argsort(stable=True)]
        rivals = rivals[distances[rivals] < distances[positive] + 0.1 ** 0.5][:10]
        assert found.positives[query] == positive
        assert found.negatives[query].tolist() == rivals.tolist() + [NONE] * (10 - len(rivals))


def test_blocks_do_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mine(*case(), margin=0.1)
    monkeypatch.setattr('seqnet_ros.training.seqnet.mining._BLOCK_VALUES', 7 * 300)
    blocks = mine(*case(), margin=0.1)
    assert torch.equal(whole.positives, blocks.positives)
    assert torch.equal(whole.negatives, blocks.negatives)


def test_queries_without_positive_or_negative_are_not_usable() -> None:
    db, asking, indptr, indices, candidates = case(queries=3)
    indptr = torch.tensor([0, 0, 3, 6])
    candidates[2] = NONE
    found = mine(db, asking, indptr, indices, candidates, margin=4.0)
    assert found.usable.tolist() == [False, True, False]
    assert found.positives[0] == NONE


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    db, asking, indptr, indices, candidates = case()
    with pytest.raises(InputError, match='references have 8 values, queries 16'):
        mine(db[:, :8], asking, indptr, indices, candidates, 0.1)
    with pytest.raises(InputError, match='40 queries, but positives of 40 and candidates of 39'):
        mine(db, asking, indptr, indices, candidates[1:], 0.1)


def test_draws_hit_what_cannot_match_and_nothing_else() -> None:
    excluded = [list(range(10)) + list(range(20, 50)), [], [3, 49], list(range(50))]
    indptr = torch.tensor([0, *map(len, excluded)]).cumsum(0)
    indices = torch.tensor([row for rows in excluded for row in rows])
    drawn = draw_negatives(indptr, indices, 50, 4000, torch.Generator().manual_seed(0))
    for row, rows in enumerate(excluded[:3]):
        values, counts = drawn[row].unique(return_counts=True)
        allowed = sorted(set(range(50)) - set(rows))
        assert values.tolist() == allowed
        expected = 4000 / len(allowed)
        assert (counts - expected).abs().max() < 6 * expected ** 0.5
    assert drawn[3].tolist() == [NONE] * 4000
    again = draw_negatives(indptr, indices, 50, 4000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
