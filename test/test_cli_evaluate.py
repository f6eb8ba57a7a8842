"""`seqnet_ros evaluate`: the recalls of the published code, and one sentence for bad input."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from seqnet_ros.cli.main import app
from seqnet_ros.datasets.seqnet_files import read_predictions, read_results, write_bounds
from seqnet_ros.sequences.aggregators import SeqNet
from seqnet_ros.training.seqnet_run import SeqNetRun, save_run

GOLDEN = Path(__file__).resolve().parents[2] / 'shared' / 'golden' / 'seqnet'
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason='no golden vectors beside the checkout')
SEQNET, S1 = GOLDEN / 'runs' / 'seqnet_l5_w3', GOLDEN / 'runs' / 's1_l1_w1'
DRIVES = ('--reference', GOLDEN / 'ref.npy', '--query', GOLDEN / 'query.npy',
          '--struct', GOLDEN / 'struct_test.db')
BOUNDS = ('--seqbounds-reference', GOLDEN / 'seqbounds_ref.txt',
          '--seqbounds-query', GOLDEN / 'seqbounds_query.txt')
FOLDERS: dict[str, tuple[object, ...]] = {
    'oneseq': (), 'bounds': BOUNDS, 'filtered': (*BOUNDS, '--full-windows')}
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
# Published for frames with a window of 5; the windows of 'single' and 's1' are one frame long.
CASES = [(folder, method) for folder in FOLDERS for method in METHODS
         if folder != 'filtered' or method not in ('single', 's1')]
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


# ---- the numbers of the published code

@golden
@pytest.mark.parametrize(('folder', 'method'), CASES)
def test_recalls_are_those_of_the_published_code(tmp_path, folder, method):
    numbers = measure(tmp_path, *DRIVES, *FOLDERS[folder], '--method', method, *METHODS[method])
    with (GOLDEN / 'recalls.csv').open() as lines:
        row = next(row for row in csv.DictReader(lines)
                   if (row['folder'], row['pooling']) == (folder, method))
    for n in NS:
        assert (float(row[f'lowest R@{n}']) - 1e-6 <= numbers['recall'][str(n)]
                <= float(row[f'highest R@{n}']) + 1e-6)
    assert numbers['queries'] + numbers['unmatched'] == (256 if folder == 'filtered' else 280)
    assert numbers['seq_length'] == (1 if method in ('single', 's1') else 5)
    if 'seqmatch' not in method and method != 'hvpr':
        table = [[row[str(n)] for n in NS] for row in numbers['recall_by_radius'].values()]
        np.testing.assert_allclose(table, np.load(GOLDEN / folder / f'{method}.npz')['rAtL'],
                                   atol=1e-12)


@golden
def test_it_prints_recalls_and_time():
    shown = run(*DRIVES, '--method', 'seqnet', '--checkpoint', SEQNET).stdout
    assert shown.startswith('R@1: 0.821, R@5: 0.937, R@10: 0.970, R@20: 0.993, R@100: 1.000\n')
    assert re.search(r'queries +268, and 12 without a match\n', shown)
    assert re.search(r'radius +6 m\n', shown)
    assert re.search(r'time +\d+\.\d+ ms per query\n', shown)


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
    'no full window': ({}, ('--method', 'smooth', '--seq-length', 31, '--full-windows'),
                       'longest sequence has 30'),
    's1 with a length': ({}, ('--method', 's1', '--checkpoint', '{}/run', '--seq-length', 5),
                         'of s1 is 5, expected 1'),
    'not finite': ({'--query': '{}/nan.npy'}, SMOOTH,
                   'nan.npy: descriptor 7 holds a value that is not finite'),
    'no descriptors': ({'--query': '{}/none.npy'}, SMOOTH, 'none.npy does not exist'),
    'other dimensions': ({'--query': '{}/wide.npy'}, SMOOTH, 'query descriptors 9'),
    'bounds of another drive': (
        {'--query': '{}/shifted.npy', '--seqbounds-query': '{}/bounds.txt'}, SMOOTH,
        'bounds for 30 frames, but 28 descriptors'),
    'no truth': ({'--tolerance': None}, SMOOTH, 'neither of --struct and --tolerance'),
    'two truths': ({'--struct': 'x.db'}, SMOOTH, 'both of --struct and --tolerance'),
    'missing struct': ({'--tolerance': None, '--struct': 'x.db'}, SMOOTH, 'x.db does not exist'),
    'negative tolerance': ({'--tolerance': -1}, SMOOTH, 'the radius is -1'),
    'hvpr with nothing': ({}, HVPR, 'needs a trained SeqNet, expected --checkpoint'),
    'hvpr without a length': ({}, (*HVPR, '--candidates', '{}/q.npy'), 'expected --match-length'),
    'hvpr with both': ({}, (*HVPR, '--candidates', 'c.npz', '--checkpoint', '{}/run'),
                       '--checkpoint was given with --candidates'),
    'hvpr of descriptors': ({}, (*HVPR, '--candidates', '{}/q.npy', '--match-length', 5),
                            'expected whole numbers [M, K]'),
    'hvpr without its file': ({}, (*HVPR, '--candidates', 'c.npz', '--match-length', 5),
                              'c.npz does not exist'),
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
