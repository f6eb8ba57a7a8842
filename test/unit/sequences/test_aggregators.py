"""Windows and aggregators, held against the outputs of the original projects."""

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.descriptors.weights import read_tensors
from seqnet_ros.sequences.aggregators import aggregate, build_aggregator
from seqnet_ros.sequences.centring import RunningMean, centre, normalize_rows
from seqnet_ros.sequences.jist_aggregators import SeqGeM
from seqnet_ros.sequences.rolling_seqgem import RollingSeqGeM
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.sequences.windows import centred_windows, is_full_window, trailing_windows

DESCRIPTOR_LIMIT = 2e-6


def unit_rows(seed: int, *shape: int) -> np.ndarray:
    return normalize_rows(np.random.default_rng(seed).standard_normal(shape))


# --- windows ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def window_rows(shared_golden: Path) -> list[dict[str, str]]:
    with (shared_golden / 'seqnet' / 'windows.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def bounds_of(row: dict[str, str]) -> np.ndarray:
    """Return bounds in which the row's sequence lies and every other frame stands alone."""
    count, low, high = int(row['N']), int(row['lo']), int(row['hi'])
    frame = np.arange(count)
    bounds = np.stack([frame, frame + 1], axis=1)
    bounds[low:high] = low, high
    return bounds


def test_centred_windows_equal_the_reference(window_rows: list[dict[str, str]]) -> None:
    inside = [row for row in window_rows if row['kind'] == 'inside']
    assert len(inside) > 300
    for row in inside:
        expected = [int(index) for index in row['indices'].split()]
        for compat in (False, True):
            windows = centred_windows(bounds_of(row), int(row['L']), compat)
            assert windows[int(row['i'])].tolist() == expected, row


def test_compat_windows_leave_short_sequences_as_the_reference_does(
        window_rows: list[dict[str, str]]) -> None:
    spilled = [row for row in window_rows if row['kind'] != 'inside']
    assert {row['kind'] for row in spilled} == {'spill', 'spill_past_end', 'spill_negative'}
    for row in spilled:
        bounds, length, frame = bounds_of(row), int(row['L']), int(row['i'])
        expected = [int(index) for index in row['indices'].split()]
        assert centred_windows(bounds, length, compat=True)[frame].tolist() == expected, row
        kept = centred_windows(bounds, length)[frame]
        assert len(kept) == length
        assert kept.min() >= int(row['lo'])
        assert kept.max() < int(row['hi'])
        assert (np.diff(kept) >= 0).all()


def test_full_windows_equal_the_reference(window_rows: list[dict[str, str]]) -> None:
    verdicts = [is_full_window(bounds_of(row), int(row['L']))[int(row['i'])]
                for row in window_rows]
    expected = [row['full_window'] == '1' for row in window_rows]
    assert verdicts == expected
    assert 0 < sum(expected) < len(expected)


def test_centred_windows_refuse_wrong_bounds() -> None:
    with pytest.raises(InputError, match=r'shape \(3,\), expected \[N, 2\]'):
        centred_windows(np.arange(3), 3)
    with pytest.raises(InputError, match=r'frame 1 is outside its sequence bounds \[2, 4\]'):
        centred_windows(np.array([[0, 2], [2, 4], [2, 4], [2, 4]]), 3)


def test_trailing_windows_stay_in_their_segment() -> None:
    starts = np.array([0, 0, 0, 0, 4, 4, 6])
    for length in (1, 3, 5, 9):
        windows = trailing_windows(starts, length)
        for frame, window in enumerate(windows):
            naive = [max(frame - age, starts[frame]) for age in range(length - 1, -1, -1)]
            assert window.tolist() == naive


# --- aggregators against the golden files -----------------------------------------------------


@pytest.fixture(scope='module')
def traverses(shared_golden: Path) -> tuple[np.ndarray, np.ndarray]:
    folder = shared_golden / 'seqnet'
    return np.load(folder / 'ref.npy'), np.load(folder / 'query.npy')


def golden_bounds(folder: Path, case: str, which: str, count: int) -> np.ndarray:
    if case != 'bounds':
        return np.tile([0, count], (count, 1))
    return np.loadtxt(folder / f'seqbounds_{which}.txt', dtype=int)


def trained_seqnet(folder: Path, run: str, file: str = 'checkpoint.pth.tar') -> SeqNet:
    tensors = read_tensors(folder / 'runs' / run / 'checkpoints' / file)
    weight = tensors['pool.0.conv.weight']
    out_dim, in_dim, kernel = weight.shape
    module = SeqNet(in_dim, out_dim, kernel)
    module.load_state_dict(
        {'conv.weight': weight, 'conv.bias': tensors['pool.0.conv.bias']})
    return module.eval()


def aggregator_of(folder: Path, name: str) -> torch.nn.Module:
    if name.startswith('seqnet'):
        best = 'model_best.pth.tar' if 'best' in name else 'checkpoint.pth.tar'
        return trained_seqnet(folder, 'seqnet_l5_w3', best)
    if name == 's1':
        return trained_seqnet(folder, 's1_l1_w1')
    return build_aggregator(AggregatorConfig(aggregator=name.partition('_')[0]), 10, 64)


@pytest.mark.parametrize('case', [
    'oneseq/smooth', 'oneseq/delta', 'oneseq/seqnet', 'oneseq/s1', 'bounds/smooth', 'bounds/delta',
    'bounds/seqnet', 'extra/delta_L2', 'extra/delta_L4', 'extra/smooth_L4', 'extra/seqnet_L8'])
def test_seqnet_aggregators_equal_the_reference(
        case: str, shared_golden: Path, traverses: tuple[np.ndarray, np.ndarray]) -> None:
    folder = shared_golden / 'seqnet'
    group, name = case.split('/')
    golden = np.load(folder / f'{case}.npz')
    module = aggregator_of(folder, name)
    for frames, which, key in zip(traverses, ('ref', 'query'), ('dbDesc', 'qDesc'), strict=True):
        bounds = golden_bounds(folder, group, which, len(frames))
        windows = centred_windows(bounds, int(golden['seqL']), compat=True)
        found = aggregate(module, frames, windows)
        assert found.dtype == np.float32
        assert found.shape == golden[key].shape
        assert np.abs(found - golden[key]).max() <= DESCRIPTOR_LIMIT


def test_best_checkpoint_ranks_as_the_reference(
        shared_golden: Path, traverses: tuple[np.ndarray, np.ndarray]) -> None:
    folder = shared_golden / 'seqnet'
    golden = np.load(folder / 'extra' / 'seqnet_best_L5.npz')
    module = aggregator_of(folder, 'seqnet_best')
    reference, query = (
        aggregate(module, frames, centred_windows(np.tile([0, len(frames)], (len(frames), 1)), 5))
        for frames in traverses)
    squared = np.square(query[:, None].astype(np.float64) - reference[None]).sum(axis=2)
    nearest = np.argsort(squared, axis=1, kind='stable')[:, :20]
    assert (nearest == golden['preds'][:, :20]).all()
    found = np.take_along_axis(squared, nearest, axis=1)
    assert np.abs(found - golden['predDists']).max() < DESCRIPTOR_LIMIT


@pytest.mark.parametrize('name', ['mean', 'max', 'concat'])
def test_simple_aggregators_equal_the_reference(name: str, shared_golden: Path) -> None:
    golden = np.load(shared_golden / 'jist' / 'aggregators' / f'{name}.npz')
    module = build_aggregator(AggregatorConfig(aggregator=name), 10, 32)
    for length in golden['lengths']:
        found = module(torch.from_numpy(golden[f'x_L{length}'])).numpy()
        assert found.shape == golden[f'y_L{length}'].shape
        assert np.abs(found - golden[f'y_L{length}']).max() <= 1e-6


@pytest.mark.parametrize('name', ['simplefc', 'meanfc', 'conv1d'])
def test_learned_aggregators_equal_the_reference(name: str, shared_golden: Path) -> None:
    golden = np.load(shared_golden / 'jist' / 'aggregators' / f'{name}.npz')
    layer = 'conv1d' if name == 'conv1d' else 'final_fc'
    for length in map(int, golden['lengths']):
        module = build_aggregator(AggregatorConfig(aggregator=name), length, 32)
        frames = torch.from_numpy(golden[f'x_L{length}'])
        if name == 'meanfc':
            start = module.state_dict()['final_fc.weight'].numpy()
            assert np.abs(start - golden[f'weight_init_L{length}']).max() < 1e-7
            with torch.inference_mode():
                found = module(frames).numpy()
            assert np.abs(found - golden[f'y_init_L{length}']).max() <= 2e-6
        module.load_state_dict({
            f'{layer}.{kind}': torch.from_numpy(golden[f'{kind}_L{length}'])
            for kind in ('weight', 'bias') if f'{kind}_L{length}' in golden})
        with torch.inference_mode():
            found = module(frames).numpy()
        assert np.abs(found - golden[f'y_L{length}']).max() <= 2e-6
        with pytest.raises(InputError, match=rf'has {length + 1} frames, expected the {length}'):
            module(torch.zeros(1, length + 1, 32))


def seqgem_in_float64(frames: np.ndarray, p: float, eps: float) -> np.ndarray:
    clamped = np.maximum(frames.astype(np.float64), eps)
    return (clamped ** p).mean(axis=-2) ** (1 / p)


def test_seqgem_equals_the_reference(shared_golden: Path) -> None:
    golden = np.load(shared_golden / 'jist' / 'aggregators' / 'seqgem.npz')
    eps = float(golden['eps'])
    for index, p in enumerate(golden['p']):
        module = SeqGeM(float(p))
        # Below this the reference's own power leaves the range of float32.
        underflow = 1.2e-38 ** (1 / float(p))
        for length in (1, 3, 5, 10, 'edge'):
            suffix = length if length == 'edge' else f'L{length}'
            frames, expected = golden[f'x_{suffix}'], golden[f'y_{suffix}'][index]
            with torch.inference_mode():
                found = module(torch.from_numpy(frames)).numpy()
            exact = seqgem_in_float64(frames, float(p), eps)
            relative = 1e-5 if length == 'edge' else 0.0
            limit = 3e-6 + relative * np.abs(exact)
            assert (np.abs(found - exact) <= limit).all(), (p, suffix)
            limit += np.where(exact < underflow, underflow, 0)
            assert (np.abs(found - expected) <= limit).all(), (p, suffix)


@pytest.mark.parametrize('p', [8.0, 10.0, 30.0])
def test_seqgem_does_not_underflow(p: float) -> None:
    """The plain float32 formula gives 0 here; the result may never be below eps."""
    frames = torch.full((2, 5, 8), -1.0)
    frames[1] = 1e-5
    with torch.inference_mode():
        pooled = SeqGeM(p)(frames).numpy()
    assert pooled[0] == pytest.approx(np.full(8, 1e-6), rel=1e-5)
    assert pooled[1] == pytest.approx(np.full(8, 1e-5), rel=1e-5)


@pytest.mark.parametrize('case', ['p3', 'p4_5'])
def test_seqgem_gradients_equal_the_reference(case: str, shared_golden: Path) -> None:
    golden = np.load(shared_golden / 'jist' / 'aggregators' / 'seqgem.npz')

    def given(name: str) -> np.ndarray:
        return golden[f'grad_{case}_{name}']

    module = SeqGeM(float(given('p')[0]))
    frames = torch.from_numpy(given('x')).requires_grad_()
    pooled = module(frames)
    pooled.backward(torch.from_numpy(given('gy')))
    assert frames.grad is not None
    assert module.p.grad is not None
    for found, name in ((pooled.detach(), 'y'), (frames.grad, 'gx'), (module.p.grad, 'gp')):
        limit = 1e-5 + 1e-4 * np.abs(given(name))
        assert (np.abs(found.numpy() - given(name)) <= limit).all(), name


# --- what holds for any data -------------------------------------------------------------------


@pytest.mark.parametrize(('length', 'weights'), [
    (4, [-.5, -.5, .5, .5]), (5, [-.4, -.4, .4, .4, .4]), (1, [2.0])])
def test_delta_gives_the_middle_to_the_second_half(length: int, weights: list[float]) -> None:
    frames = unit_rows(1, 3, length, 16)
    module = build_aggregator(AggregatorConfig(aggregator='delta'), length, 16)
    expected = normalize_rows(np.einsum('t,btd->bd', weights, frames))
    assert module(torch.from_numpy(frames)).numpy() == pytest.approx(expected, abs=1e-6)


def test_seqnet_equals_the_convolution_over_time() -> None:
    torch.manual_seed(0)
    module = SeqNet(24, 10, 3).eval()
    frames = torch.from_numpy(unit_rows(2, 6, 7, 24))
    with torch.inference_mode():
        plain = module.conv(frames.transpose(1, 2)).mean(dim=2)
        plain = torch.nn.functional.normalize(plain, dim=1)
        assert (module(frames) - plain).abs().max() < DESCRIPTOR_LIMIT
        backwards = module(frames.flip(1))
    assert (backwards - plain).abs().max() > 0.01  # the order in time matters


def test_seqnet_refuses_a_sequence_shorter_than_its_kernel() -> None:
    with pytest.raises(InputError, match='2 frames is shorter than the SeqNet kernel of 3'):
        SeqNet(4, 4, 3)(torch.zeros(1, 2, 4))


JIST = ('concat', 'mean', 'max', 'simplefc', 'meanfc', 'conv1d', 'seqgem')


@pytest.mark.parametrize('name', JIST)
def test_normalising_is_off_unless_asked_for(name: str) -> None:
    frames = torch.from_numpy(unit_rows(8, 6, 5, 16))
    made = {}
    for normalise in (False, True):
        torch.manual_seed(0)
        config = AggregatorConfig(aggregator=name, normalise=normalise)
        with torch.inference_mode():
            made[normalise] = build_aggregator(config, 5, 16)(frames)
    assert (made[False].norm(dim=1) - 1).abs().min() > 0.01
    torch.testing.assert_close(
        made[True], torch.nn.functional.normalize(made[False], dim=1), rtol=0, atol=1e-6)


# --- SeqGeM of a moving window ------------------------------------------------------------------


@pytest.mark.parametrize(('length', 'p', 'normalise'), [
    (1, 3.0, False), (2, 0.5, False), (5, 3.0, True), (7, 30.0, False), (40, 100.0, False)])
def test_a_rolling_window_equals_the_whole_window(
        length: int, p: float, normalise: bool) -> None:
    random = np.random.default_rng(9)
    scale = 10.0 ** random.integers(-8, 4, (120, 1))
    frames = (scale * random.standard_normal((120, 6))).astype(np.float32)
    module = SeqGeM(p, normalise=normalise)
    rolling = RollingSeqGeM(module, length, 6)
    for start in (0, 60):  # cleared in between
        for newest in range(start, start + 60):
            found = rolling.push(frames[newest])
            window = frames[max(start, newest + 1 - length):newest + 1]
            exact = seqgem_in_float64(window, p, module.eps) if p < 30 else None
            with torch.inference_mode():
                whole = module(torch.from_numpy(window)[None])[0].numpy()
            np.testing.assert_allclose(found, whole, rtol=1e-4)
            if exact is not None and not normalise:
                np.testing.assert_allclose(found, exact, rtol=1e-6)
        rolling.clear()


@pytest.mark.parametrize('p', [3.0, 10.0])
def test_a_rolling_window_does_not_drift(p: float) -> None:
    """100,000 frames, bright stretches and dark ones by turns, where differences would drift."""
    count, length = 100_000, 10
    frames = unit_rows(10, count, 8)
    frames[(np.arange(count) // 25) % 2 == 1] *= 1e-4
    module = SeqGeM(p)
    rolling = RollingSeqGeM(module, length, 8)
    found = np.stack([rolling.push(frame) for frame in frames])[length - 1:]
    windows = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0).swapaxes(1, 2)
    with torch.inference_mode():
        whole = module(torch.from_numpy(windows.copy())).numpy()
    assert np.abs(found - whole).max() < 1e-5
    dark = whole.max(axis=1) < 1e-3
    assert dark.sum() > 10_000
    np.testing.assert_allclose(found[dark], whole[dark], rtol=1e-4)


@pytest.mark.parametrize('name', ['smooth', 'delta', 'seqnet', *JIST])
def test_blocks_do_not_change_the_result(name: str) -> None:
    torch.manual_seed(0)
    module = build_aggregator(AggregatorConfig(aggregator=name, out_dim=12), 5, 16)
    frames = unit_rows(3, 50, 16)
    windows = trailing_windows(np.zeros(50, dtype=int), 5)
    whole = aggregate(module, frames, windows)
    small = aggregate(module, frames, windows, chunk_bytes=1)
    assert len(whole) == 50
    assert small == pytest.approx(whole, abs=1e-6)


def test_aggregate_works_in_bounded_memory() -> None:
    """All windows at once would be 655 MB; the gathered blocks hold 4 MiB."""
    count, dim, length = 8_000, 512, 40
    frames = np.zeros((count, dim), dtype=np.float32)
    frames[np.arange(count), np.arange(count) % dim] = 1
    windows = trailing_windows(np.zeros(count, dtype=int), length)
    module = build_aggregator(AggregatorConfig(aggregator='max'), length, dim)
    tracemalloc.start()
    try:
        found = aggregate(module, frames, windows, chunk_bytes=4 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The result itself (16 MB) is held twice while its blocks are joined.
    assert peak < 2 * found.nbytes + (16 << 20)
    assert found[1000].sum() == length


# --- centring ----------------------------------------------------------------------------------


def test_centring_removes_what_a_drive_has_in_common() -> None:
    places = unit_rows(4, 30, 64)
    light = 3 * unit_rows(5, 1, 64)
    centred = centre(places + light, (places + light).mean(axis=0))
    assert centred == pytest.approx(centre(places, places.mean(axis=0)), abs=1e-5)
    assert np.linalg.norm(centred, axis=1) == pytest.approx(np.ones(30), abs=1e-6)
    assert centred.dtype == np.float32


def test_zero_rows_stay_zero() -> None:
    assert (normalize_rows(np.zeros((2, 4))) == 0).all()


def test_running_mean_moves_from_the_prior_to_the_frames() -> None:
    prior, frames = np.zeros(8, dtype=np.float32), unit_rows(6, 400, 8)
    mean = RunningMean(prior, prior_frames=20)
    assert (mean.value == prior).all()
    for frame in frames[:20]:
        mean.add(frame)
    assert mean.value == pytest.approx(frames[:20].mean(axis=0) / 2, abs=1e-6)
    for frame in frames[20:]:
        mean.add(frame)
    assert mean.value == pytest.approx(frames.sum(axis=0) / 420, abs=1e-6)
