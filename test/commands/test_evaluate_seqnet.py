"""`seqnet_ros evaluate`: the recalls of the published code, and one sentence for bad input."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from typer.testing import CliRunner, Result

from seqnet_ros.cli.main import app
from seqnet_ros.datasets.seqnet.dataset_files import (
    Traverses,
    read_predictions,
    read_results,
    write_bounds,
)
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, read_struct, write_struct
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.training.seqnet.run import SeqNetRun, save_run

GOLDEN = Path(__file__).resolve().parents[3] / 'shared' / 'golden' / 'seqnet'
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason='no golden vectors beside the checkout')
SEQNET, S1 = GOLDEN / 'runs' / 'seqnet_l5_w3', GOLDEN / 'runs' / 's1_l1_w1'
DRIVES = ('--reference', GOLDEN / 'ref.npy', '--query', GOLDEN / 'query.npy',
          '--struct', GOLDEN / 'struct_test.db')
BOUNDS = ('--seqbounds-reference', GOLDEN / 'seqbounds_ref.txt',
          '--seqbounds-query', GOLDEN / 'seqbounds_query.txt')
FOLDERS: dict[str, tuple[object, ...]] = {
    'oneseq': (), 'bounds': BOUNDS, 'filtered': (*BOUNDS, '--full-windows', 5)}
METHODS: dict[str, tuple[object, ...]] = {
    'single': (),
    's1': ('--checkpoint', S1),
    'smooth': ('--seq-length', 5),
    'delta': ('--seq-length', 5),
    'seqnet': ('--checkpoint', SEQNET),
    'single+seqmatch': ('--seq-length', 5),
    's1+seqmatch': ('--seq-length', 5, '--checkpoint', S1),
    'hvpr': ('--checkpoint', SEQNET, '--match-checkpoint', S1),
}
CASES = [(folder, method) for folder in FOLDERS for method in METHODS]
EXTRA: dict[str, tuple[object, ...]] = {
    'delta_L2': ('delta', '--seq-length', 2),
    'delta_L4': ('delta', '--seq-length', 4),
    'hvpr_L8': ('hvpr', '--checkpoint', SEQNET, '--match-checkpoint', S1, '--match-length', 8),
    'seqnet_L8': ('seqnet', '--seq-length', 8, '--checkpoint', SEQNET),
    'seqnet_best_L5': ('seqnet', '--checkpoint', SEQNET / 'checkpoints' / 'model_best.pth.tar',
                       '--seq-length', 5),
    'single+seqmatch_L8': ('single+seqmatch', '--seq-length', 8),
    'smooth_L4': ('smooth', '--seq-length', 4),
}
NS = (1, 5, 10, 20, 100)
FRAMES, DIM = 30, 8


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ['evaluate', *map(str, arguments)])


def measure(folder: Path, *arguments: object) -> dict:
    result = run(*arguments, '--json', folder / 'numbers.json')
    assert result.exit_code == 0, result.stderr
    return json.loads((folder / 'numbers.json').read_text())


def refusal(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.stdout, result.stderr)
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith('Error: ')
    return lines[0]


def check_recalls(numbers: dict, folder: str, pooling: str) -> None:
    """Check recalls; where distances are equal, any order of them is right."""
    with (GOLDEN / 'recalls.csv').open() as lines:
        row = next(row for row in csv.DictReader(lines)
                   if (row['folder'], row['pooling']) == (folder, pooling))
    for n in NS:
        assert (float(row[f'lowest R@{n}']) - 1e-6 <= numbers['recall'][str(n)]
                <= float(row[f'highest R@{n}']) + 1e-6)


# ---- the numbers of the published code

@golden
@pytest.mark.parametrize(('folder', 'method'), CASES)
def test_recalls_are_those_of_the_published_code(tmp_path, folder, method):
    numbers = measure(tmp_path, *DRIVES, *FOLDERS[folder], '--method', method, *METHODS[method])
    check_recalls(numbers, folder, method)
    assert numbers['queries'] + numbers['unmatched'] == (256 if folder == 'filtered' else 280)
    assert numbers['seq_length'] == (1 if method in ('single', 's1') else 5)
    if 'seqmatch' not in method and method != 'hvpr':
        table = [[row[str(n)] for n in NS] for row in numbers['recall_by_radius'].values()]
        np.testing.assert_allclose(table, np.load(GOLDEN / folder / f'{method}.npz')['rAtL'],
                                   atol=1e-12)


@golden
@pytest.mark.parametrize('case', EXTRA)
def test_recalls_at_other_lengths(tmp_path, case):
    check_recalls(measure(tmp_path, *DRIVES, '--method', *EXTRA[case]), 'extra', case)


@golden
@pytest.mark.parametrize('file', ['s1_numpy1_names.pth.tar', 's1_legacy_format.pth.tar'])
@pytest.mark.parametrize('folder', FOLDERS)
def test_checkpoints_of_old_versions(tmp_path, folder, file):
    for method in ('s1', 's1+seqmatch'):
        numbers = measure(tmp_path, *DRIVES, *FOLDERS[folder], '--method', method, '--seq-length',
                          1 if method == 's1' else 5, '--checkpoint', GOLDEN / 'compat' / file)
        check_recalls(numbers, folder, method)


@golden
def test_it_prints_recalls_and_time():
    shown = run(*DRIVES, '--method', 'seqnet', '--checkpoint', SEQNET).stdout
    assert shown.startswith('R@1: 0.821, R@5: 0.937, R@10: 0.970, R@20: 0.993, R@100: 1.000\n')
    assert re.search(r'queries +268, and 12 without a match\n', shown)
    assert re.search(r'radius +6 m\n', shown)
    assert re.search(r'precision +average precision 0\.\d+, best F1 0\.\d+, recall 0\.\d+ at',
                     shown)
    assert re.search(r'time +\d+\.\d+ ms per query\n', shown)
    assert re.search(r'memory +(\d+\.\d MB|not known)\n', shown)
    table = [line.split() for line in shown.splitlines()[-8:]]
    assert table[0] == ['radius', *(f'R@{n}' for n in NS)]
    expected = np.load(GOLDEN / 'oneseq' / 'seqnet.npz')['rAtL']
    assert [row[:2] for row in table[1:]] == [[str(r), 'm'] for r in (1, 5, 10, 20, 40, 100, 200)]
    np.testing.assert_allclose([[float(x) for x in row[2:]] for row in table[1:]], expected,
                               atol=5.1e-4)


@golden
def test_hvpr_takes_the_predictions_of_an_earlier_run(tmp_path):
    first, original = tmp_path / 'first.npz', tmp_path / 'results.npz'
    measure(tmp_path, *DRIVES, '--method', 'seqnet', '--checkpoint', SEQNET,
            '--predictions', first, '--original-npz', original)
    np.save(tmp_path / 'first.npy', read_predictions(first))
    matching = ('--method', 'hvpr', '--match-checkpoint', S1, '--match-length', 8)
    expected = measure(tmp_path, *DRIVES, *matching, '--checkpoint', SEQNET)
    for candidates in (first, original, tmp_path / 'first.npy'):
        found = measure(tmp_path, *DRIVES, *matching, '--candidates', candidates)
        assert found['recall'] == expected['recall']
        assert (found['seq_length'], found['match_length']) == (None, 8)
    assert found['recall'] != measure(
        tmp_path, *DRIVES, *matching, '--candidates', first, '--top-k', 2)['recall']


@golden
def test_hvpr_of_all_candidates_is_sequence_matching(tmp_path):
    hvpr = measure(tmp_path, *DRIVES, '--method', 'hvpr', '--stage-one', 'smooth', '--seq-length',
                   3, '--match-length', 5, '--top-k', 300)
    matching = measure(tmp_path, *DRIVES, '--method', 'single+seqmatch', '--seq-length', 5)
    assert hvpr['recall'] == pytest.approx(matching['recall'], abs=1e-12)
    assert (hvpr['stage_one'], hvpr['seq_length'], hvpr['match_length']) == ('smooth', 3, 5)


@golden
def test_predictions_need_no_pickle(tmp_path):
    measure(tmp_path, *DRIVES, '--method', 'seqnet', '--checkpoint', SEQNET, '--predictions',
            tmp_path / 'found.npz')
    with np.load(tmp_path / 'found.npz', allow_pickle=False) as found:
        assert found['preds'].dtype == np.int64
        expected = np.load(GOLDEN / 'oneseq' / 'seqnet.npz')
        np.testing.assert_array_equal(found['preds'][:, :20], expected['preds'][:, :20])
        np.testing.assert_allclose(found['distances'][:, :25] ** 2, expected['predDists'],
                                   atol=2e-6)


@golden
def test_results_as_the_published_code_writes_them(tmp_path):
    measure(tmp_path, *DRIVES, '--method', 'seqnet', '--checkpoint', SEQNET, '--original-npz',
            tmp_path / 'results.npz')
    found = read_results(tmp_path / 'results.npz')
    expected = read_results(GOLDEN / 'raw_results' / 'seqnet_oneseq_results.npz')
    assert found.recalls == pytest.approx(expected.recalls)
    np.testing.assert_allclose(found.recalls_by_radius, expected.recalls_by_radius, atol=1e-12)
    assert set(found.options) == set(expected.options)
    for name in ('mode', 'split', 'pooling', 'seqL', 'w', 'outDims'):
        assert found.options[name] == expected.options[name]


# ---- data sets

@pytest.fixture(scope='module')
def golden_set(tmp_path_factory) -> Path:
    """The golden drives as an own data set."""
    folder = tmp_path_factory.mktemp('golden')
    structs, arrays = folder / 'structFiles', folder / 'data' / 'descData' / 'made-up'
    (structs / 'seqBoundsFiles').mkdir(parents=True)
    arrays.mkdir(parents=True)
    shutil.copy(GOLDEN / 'struct_test.db', structs / 'gold_test_d-6_d2-1.db')
    for part, drive in (('database', 'ref'), ('query', 'query')):
        shutil.copy(GOLDEN / f'{drive}.npy', arrays / f'gold_{part}.npy')
        shutil.copy(GOLDEN / f'seqbounds_{drive}.txt',
                    structs / 'seqBoundsFiles' / f'gold_{part}_seqBounds.txt')
    return folder


@golden
@pytest.mark.parametrize('method', METHODS)
def test_a_data_set_gives_the_numbers_of_its_arrays(tmp_path, golden_set, method):
    for folder in ('bounds', 'filtered'):
        numbers = measure(tmp_path, '--dataset', golden_set, *FOLDERS[folder][len(BOUNDS):],
                          '--method', method, *METHODS[method])
        check_recalls(numbers, folder, method)
        assert (numbers['dataset'], numbers['split']) == ('gold', 'test')
        assert numbers['full_windows'] == (5 if folder == 'filtered' else None)


@golden
def test_msls_leaves_out_windows_that_do_not_fit_by_itself(tmp_path, golden_set):
    city = tmp_path / 'msls'
    for path in golden_set.rglob('*gold*'):
        name = path.name.replace('gold_test', 'msls_cph').replace('gold', 'msls_cph')
        target = city / path.parent.relative_to(golden_set) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    choice = ('--dataset', 'msls', '--city', 'cph', '--folder', city, '--descriptors', 'made-up')
    for method in ('smooth', 'seqnet', 's1+seqmatch', 'hvpr'):
        for split in ('val', 'test'):
            numbers = measure(tmp_path, *choice, '--split', split, '--method', method,
                              *METHODS[method])
            check_recalls(numbers, 'filtered', method)
        kept = measure(tmp_path, *choice, '--split', 'train', '--method', method, *METHODS[method])
        check_recalls(kept, 'bounds', method)
        asked = measure(tmp_path, *choice, '--full-windows', 1, '--method', method,
                        *METHODS[method])
        check_recalls(asked, 'bounds', method)


@golden
def test_a_struct_of_some_rows_only(tmp_path):
    rows = Traverses(np.arange(40, 260), np.arange(20, 270))
    struct = read_struct(GOLDEN / 'struct_test.db')
    write_struct(replace(
        struct, db_images=struct.db_images[40:260], q_images=struct.q_images[20:270],
        db_positions=struct.db_positions[rows.db], q_positions=struct.q_positions[rows.query]),
        tmp_path / 'part.db')
    np.savez(tmp_path / 'rows.npz', val_db=rows.db, val_query=rows.query)
    for name in ('ref', 'query'):
        drive = rows.db if name == 'ref' else rows.query
        np.save(tmp_path / f'{name}.npy', np.load(GOLDEN / f'{name}.npy')[drive])
    options = ('--struct', tmp_path / 'part.db', '--method', 'delta', '--seq-length', 4)
    whole = ('--reference', GOLDEN / 'ref.npy', '--query', GOLDEN / 'query.npy')
    cut = measure(tmp_path, '--reference', tmp_path / 'ref.npy', '--query', tmp_path / 'query.npy',
                  *options)
    found = measure(tmp_path, *whole, '--splits', tmp_path / 'rows.npz', '--split', 'val', *options)
    assert found['recall'] == cut['recall']
    assert found['references'] == 220
    # Without a struct the rows of the whole files count.
    shifted = measure(tmp_path, *whole, '--splits', tmp_path / 'rows.npz', '--split', 'val',
                      '--method', 'single', '--tolerance', 0)
    assert (shifted['queries'], shifted['unmatched']) == (220, 30)
    assert "lists the rows of val, expected 'test' among them" in refusal(
        *whole, '--splits', tmp_path / 'rows.npz', *options)
    assert 'lists 300 database images, but there are 220' in refusal(
        *whole, '--splits', tmp_path / 'rows.npz', '--split', 'val', *options[2:],
        '--struct', GOLDEN / 'struct_test.db')


# ---- all methods in one table

@golden
def test_a_table_of_all_methods(tmp_path):
    arguments = (*DRIVES, *FOLDERS['filtered'], '--method', 'all', '--checkpoint', SEQNET,
                 '--match-checkpoint', S1)
    document = measure(tmp_path, *arguments)
    assert list(document['methods']) == [
        'single', 'smooth', 'delta', 'seqnet', 's1', 'single+seqmatch', 's1+seqmatch', 'hvpr']
    assert document['left_out'] == {}
    assert (document['references'], document['radius']) == (256 + 16, 6)
    for method, numbers in document['methods'].items():
        check_recalls(numbers, 'filtered', method)
    shown = run(*arguments).stdout.splitlines()
    assert shown[0].split() == ['method', *(f'R@{n}' for n in NS), 'AP', 'F1', 'R@100%P',
                                'ms/query', 'MB']
    assert shown[4].split()[:6] == ['seqnet', '0.833', '0.931', '0.972', '0.992', '1.000']
    assert shown[-1].split() == ['skipped', 'none']


@golden
def test_methods_without_their_weights_are_left_out(tmp_path):
    document = measure(tmp_path, *DRIVES, '--method', 'all', '--seq-length', 5)
    assert list(document['methods']) == ['single', 'smooth', 'delta', 'single+seqmatch']
    assert document['left_out'] == {
        'seqnet': 'needs --checkpoint', 's1': 'needs --match-checkpoint',
        's1+seqmatch': 'needs --match-checkpoint', 'hvpr': 'needs --checkpoint'}
    only = measure(tmp_path, *DRIVES, '--method', 'all', '-L', 5, '--match-checkpoint', S1)
    assert list(only['left_out']) == ['seqnet', 'hvpr']
    assert 'seqnet needs --checkpoint; s1 needs' in run(
        *DRIVES, '--method', 'all', '--seq-length', 5).stdout


@golden
def test_the_table_says_what_single_runs_say(tmp_path):
    together = measure(tmp_path, *DRIVES, *BOUNDS, '--method', 'all', '--checkpoint', SEQNET,
                       '--match-checkpoint', S1, '--speeds', '0.8,1,1.25')
    for method, arguments in METHODS.items():
        matching = 'seqmatch' in method or method == 'hvpr'
        alone = measure(tmp_path, *DRIVES, *BOUNDS, '--method', method, *arguments,
                        *(('--speeds', '0.8,1,1.25') if matching else ()))
        found = together['methods'][method]
        for name in set(found) - {'milliseconds_per_query', 'memory_bytes'}:
            assert found[name] == alone[name], (method, name)


# ---- precision and recall

@golden
def test_precision_is_that_of_the_predictions(tmp_path):
    numbers = measure(tmp_path, *DRIVES, '--method', 'single+seqmatch', '--seq-length', 5,
                      '--predictions', tmp_path / 'found.npz')
    struct = read_struct(GOLDEN / 'struct_test.db')
    with np.load(tmp_path / 'found.npz') as found:
        nearest, distances = found['preds'][:, 0], found['distances'][:, 0]
    apart = np.linalg.norm(struct.db_positions[nearest] - struct.q_positions, axis=1)
    best, full, area, before = 0.0, 0.0, 0.0, 0.0
    for threshold in np.unique(distances):
        believed = distances <= threshold
        count = (apart[believed] <= 6).sum()
        precision, recall = count / believed.sum(), count / 268
        area += precision * (recall - before)
        before = recall
        best = max(best, 2 * precision * recall / (precision + recall))
        full = recall if precision == 1 else full
    assert numbers['average_precision'] == pytest.approx(area, abs=1e-9)
    assert numbers['best_f1'] == pytest.approx(best, abs=1e-9)
    assert numbers['recall_at_full_precision'] == pytest.approx(full, abs=1e-9)
    assert 0 < full < best < 1


# ---- drives whose truth is plain

@pytest.fixture
def drives(tmp_path) -> Path:
    """A drive of 30 frames, the same again, a shorter one, and what is wrong with them."""
    frames = np.random.default_rng(1).standard_normal((FRAMES, DIM)).astype(np.float32)
    np.save(tmp_path / 'r.npy', frames)
    np.save(tmp_path / 'q.npy', frames)
    np.save(tmp_path / 'shifted.npy', frames[2:])
    np.save(tmp_path / 'turned.npy', frames[::-1])
    np.save(tmp_path / 'wide.npy', np.ones((FRAMES, DIM + 1), dtype=np.float32))
    frames[7, 3] = np.nan
    np.save(tmp_path / 'nan.npy', frames)
    write_bounds(np.array([[0, 3]] * 3 + [[3, FRAMES]] * (FRAMES - 3)), tmp_path / 'bounds.txt')
    far = DbStruct('far', 'test', ('a',) * FRAMES, ('b',) * FRAMES, np.zeros((FRAMES, 2)),
                   np.full((FRAMES, 2), 50.0), 10.0)
    write_struct(far, tmp_path / 'far.db')
    write_struct(replace(far, db_images=far.db_images[1:], db_positions=far.db_positions[1:]),
                 tmp_path / 'short.db')
    fields = loadmat(tmp_path / 'far.db')['dbStruct']
    savemat(tmp_path / 'fields.db', appendmat=False, mdict={'dbStruct': {
        name: fields[name].item() for name in fields.dtype.names if name != 'posDistThr'}})
    save_run(SeqNetRun(SeqNet(DIM, 4, 3), flags={'seqL': 5}), tmp_path / 'run')
    save_run(SeqNetRun(SeqNet(DIM + 1, 4, 3), flags={'seqL': 5}), tmp_path / 'other')
    return tmp_path


def test_the_tolerance_is_inclusive(drives):
    search = ('--reference', drives / 'r.npy', '--query', drives / 'shifted.npy',
              '--method', 'single')
    assert measure(drives, *search, '--tolerance', 2)['recall']['1'] == 1
    assert measure(drives, *search, '--tolerance', 1)['recall']['1'] == 0
    assert re.search(r'radius +2 frames\n', run(*search, '--tolerance', 2).stdout)


def test_a_drive_the_other_way(drives):
    search = ('--reference', drives / 'r.npy', '--query', drives / 'turned.npy', '--method',
              'single+seqmatch', '--seq-length', 4, '--predictions', drives / 'found.npz',
              '--tolerance', FRAMES)
    measure(drives, *search, '--reverse')
    inside = slice(4, -4)
    turned = np.arange(FRAMES)[::-1][inside]
    np.testing.assert_array_equal(read_predictions(drives / 'found.npz')[inside, 0], turned)
    measure(drives, *search)
    assert not np.array_equal(read_predictions(drives / 'found.npz')[inside, 0], turned)


def test_a_drive_at_another_speed(drives):
    np.save(drives / 'fast.npy', np.load(drives / 'r.npy')[::2])
    search = ('--reference', drives / 'r.npy', '--query', drives / 'fast.npy', '--method',
              'single+seqmatch', '--seq-length', 5, '--predictions', drives / 'found.npz',
              '--tolerance', FRAMES)
    found = []
    for option in (('--speeds', '1,2'), ()):
        measure(drives, *search, *option)
        with np.load(drives / 'found.npz') as arrays:
            found.append((arrays['preds'][3:-3, 0], arrays['distances'][3:-3, 0]))
    np.testing.assert_array_equal(found[0][0], np.arange(0, FRAMES, 2)[3:-3])
    assert found[0][1].max() < 1e-3 < found[1][1].min()


def test_memory_grows_with_the_frames_not_with_their_windows(tmp_path):
    frames, dim, length = 20_000, 256, 20
    long = np.random.default_rng(1).standard_normal((frames, dim)).astype(np.float32)
    np.save(tmp_path / 'long.npy', long)
    np.save(tmp_path / 'short.npy', long[5000:5300])
    for reference, query in (('long', 'short'), ('short', 'long')):
        for method in ('smooth', 'single+seqmatch'):
            numbers = measure(
                tmp_path, '--reference', tmp_path / f'{reference}.npy', '--query',
                tmp_path / f'{query}.npy', '--tolerance', frames, '--method', method, '-L', length)
            if numbers['memory_bytes'] is None:
                pytest.skip('the system does not tell')
            # All windows at once would take 410 MB.
            assert numbers['memory_bytes'] < 2 * long.nbytes + 160e6


def test_compat_windows_spill_over(drives):
    search = ('--reference', drives / 'r.npy', '--query', drives / 'q.npy', '--method', 'smooth',
              '--seq-length', 5, '--tolerance', 0, '--seqbounds-reference', drives / 'bounds.txt',
              '--predictions', drives / 'found.npz')
    found = []
    for option in ((), ('--compat',)):
        measure(drives, *search, *option)
        with np.load(drives / 'found.npz') as arrays:
            found.append(arrays['distances'])
    assert np.abs(found[0] - found[1]).max() > 1e-3


SMOOTH = ('--method', 'smooth', '--seq-length', 5)
HVPR = ('--method', 'hvpr')
BAD: dict[str, tuple[dict[str, object], tuple[object, ...], str]] = {
    'no method': ({}, ('--method', 'mean'), "'mean', expected one of single, "),
    'no checkpoint': ({}, ('--method', 'seqnet'), 'needs a trained SeqNet, expected --checkpoint'),
    'missing checkpoint': ({}, ('--method', 'seqnet', '--checkpoint', 'none'),
                           'run none does not exist'),
    'checkpoint that is none': ({}, ('--method', 'seqnet', '--checkpoint', '{}/r.npy'), 'r.npy'),
    'checkpoint of other sizes': ({}, ('--method', 'seqnet', '--checkpoint', '{}/other'),
                                  'for descriptors of 9 values, found 8'),
    'checkpoint with a kernel': ({}, ('--method', 's1', '--checkpoint', '{}/run'), 'kernel of 3'),
    'nothing to train': ({}, (*SMOOTH, '--checkpoint', '{}/run'), 'nothing to train'),
    'no length': ({}, ('--method', 'smooth'), 'expected --seq-length'),
    'too long': ({}, ('--method', 'smooth', '--seq-length', 31),
                 'windows of 31 frames do not fit: the longest sequence has 30 frames'),
    'no full window': ({}, ('--method', 'smooth', '--seq-length', 31, '--full-windows', 31),
                       'longest sequence has 30'),
    's1 with a length': ({}, ('--method', 's1', '--checkpoint', '{}/run', '--seq-length', 5),
                         'of s1 is 5, expected 1'),
    'not finite': ({'--query': '{}/nan.npy'}, SMOOTH,
                   'nan.npy: descriptor 7 holds a value that is not finite'),
    'no descriptors': ({'--query': '{}/none.npy'}, SMOOTH, 'none.npy cannot be read: No such file'),
    'other dimensions': ({'--query': '{}/wide.npy'}, SMOOTH, 'query descriptors 9'),
    'bounds of another drive': (
        {'--query': '{}/shifted.npy', '--seqbounds-query': '{}/bounds.txt'}, SMOOTH,
        'bounds for 30 frames, but 28 descriptors'),
    'matching at no speed': ({}, ('--method', 'single+seqmatch', '-L', 5, '--speeds', '1,fast'),
                             "--speeds is '1,fast', expected numbers such as"),
    'matching at speed 0': ({}, ('--method', 'single+seqmatch', '-L', 5, '--speeds', '0'),
                            'expected at least one, all above 0'),
    'speeds of descriptors': ({}, (*SMOOTH, '--speeds', '1'), 'with sequence matching only'),
    'windows of 0': ({}, (*SMOOTH, '--full-windows', 0), '--full-windows is 0, expected 1'),
    'data set and arrays': ({}, (*SMOOTH, '--dataset', 'msls'),
                            '--reference was given with --dataset'),
    'neither': ({'--reference': None}, SMOOTH, 'no --reference was given, expected --dataset'),
    'folder of arrays': ({}, (*SMOOTH, '--folder', '{}'), '--folder was given without --dataset'),
    'split of arrays': ({}, (*SMOOTH, '--split', 'val'), '--split val was given without --splits'),
    'all without a length': ({}, ('--method', 'all'), 'expected --seq-length'),
    'all with predictions': ({}, ('--method', 'all', '-L', 5, '--predictions', '{}/p.npz'),
                             '--predictions was given with --method all'),
    'all with a first stage': ({}, ('--method', 'all', '-L', 5, '--stage-one', 'smooth'),
                               '--stage-one was given with --method all'),
    'all with wrong weights': ({}, ('--method', 'all', '-L', 5, '--checkpoint', 'none'),
                               'run none does not exist'),
    'no true match': ({'--tolerance': None, '--struct': '{}/far.db'}, SMOOTH,
                      'none of the 30 queries has a true match'),
    'struct of other frames': ({'--tolerance': None, '--struct': '{}/short.db'}, SMOOTH,
                               'lists 29 database images, but there are 30'),
    'struct without radius': ({'--tolerance': None, '--struct': '{}/fields.db'}, SMOOTH,
                              'lacks the fields posDistThr'),
    'no truth': ({'--tolerance': None}, SMOOTH,
                 'none of --struct, --tolerance, --ground-truth, --pairs was given'),
    'two truths': ({'--struct': 'x.db'}, SMOOTH, '--struct and --tolerance of --struct'),
    'missing struct': ({'--tolerance': None, '--struct': 'x.db'}, SMOOTH, 'x.db does not exist'),
    'negative tolerance': ({'--tolerance': -1}, SMOOTH, 'the radius is -1'),
    'hvpr with nothing': ({}, HVPR, 'needs a trained SeqNet, expected --checkpoint'),
    'hvpr without a length': ({}, (*HVPR, '--candidates', '{}/q.npy'), 'expected --match-length'),
    'hvpr with both': ({}, (*HVPR, '--candidates', 'c.npz', '--checkpoint', '{}/run'),
                       '--checkpoint was given with --candidates'),
    'hvpr of descriptors': ({}, (*HVPR, '--candidates', '{}/q.npy', '--match-length', 5),
                            'expected whole numbers [M, K]'),
    'hvpr without its file': ({}, (*HVPR, '--candidates', 'c.npz', '--match-length', 5),
                              'c.npz cannot be read: No such file'),
    'hvpr with a kernel': ({}, (*HVPR, '--checkpoint', '{}/run', '--match-checkpoint', '{}/run'),
                           'describes single frames'),
    'hvpr with no candidates': ({}, (*HVPR, '--checkpoint', '{}/run', '--top-k', 0),
                                '--top-k is 0'),
    'no first stage': ({}, (*HVPR, '--stage-one', 'single+seqmatch'), 'the first stage is'),
    'option of another method': ({}, (*SMOOTH, '--match-length', 5), 'expected it with hvpr only'),
    'compat and reverse': ({}, (*SMOOTH, '--compat', '--reverse'), 'read backwards'),
    'output is a folder': ({}, (*SMOOTH, '--json', '{}'), 'is a folder, expected a file'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_refused_in_one_sentence(drives, case):
    changes, arguments, message = BAD[case]
    options = {'--reference': '{}/r.npy', '--query': '{}/q.npy', '--tolerance': 1, **changes}
    given = [part for name, value in options.items() if value is not None
             for part in (name, value)]
    filled = [str(part).replace('{}', str(drives)) for part in (*given, *arguments)]
    assert message in refusal(*filled)


@golden
def test_a_struct_of_other_drives_is_refused(drives):
    assert 'lists 300 database images, but there are 30 database descriptors' in refusal(
        '--reference', drives / 'r.npy', '--query', drives / 'q.npy',
        '--struct', GOLDEN / 'struct_test.db', *SMOOTH)


@golden
def test_candidates_of_another_drive_are_refused(drives):
    assert 'candidates have shape [280, 20], expected [30, K]' in refusal(
        '--reference', drives / 'r.npy', '--query', drives / 'q.npy', '--tolerance', 1, *HVPR,
        '--candidates', GOLDEN / 'oneseq' / 'seqnet.npz', '--match-length', 5)
