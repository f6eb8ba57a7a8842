"""Files of SeqNet data sets: the published ones read, written ones equal, unsafe ones refused."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.dataset_files import (
    SeqNetResults,
    bounds_of_starts,
    check_bounds,
    open_descriptors,
    read_arrays,
    read_bounds,
    read_descriptors,
    read_names,
    read_predictions,
    read_results,
    read_splits,
    write_bounds,
    write_descriptors,
    write_names,
    write_results,
)


@pytest.fixture
def golden(shared_golden: Path) -> Path:
    return shared_golden / 'seqnet'


class TestBounds:
    @pytest.mark.parametrize(('name', 'lengths'), [
        ('ref', [70, 5, 41, 6, 98, 9, 71]), ('query', [60, 5, 90, 12, 33, 80])])
    def test_published_ones(self, golden, tmp_path, name, lengths):
        path = golden / f'seqbounds_{name}.txt'
        bounds = read_bounds(path)
        starts = np.cumsum([0, *lengths[:-1]])
        np.testing.assert_array_equal(bounds, bounds_of_starts(starts, sum(lengths)))
        write_bounds(bounds, tmp_path / 'copy.txt')
        assert (tmp_path / 'copy.txt').read_text().split() == path.read_text().split()

    def test_of_starts(self):
        assert bounds_of_starts([0, 2, 3], 5).tolist() == [[0, 2], [0, 2], [2, 3], [3, 5], [3, 5]]
        assert bounds_of_starts([0], 0).shape == (0, 2)

    def test_floating_point_notation_is_read(self, tmp_path):
        (tmp_path / 'b.txt').write_text('0.0 2.000e+00\r\n0.0 2.000e+00\r\n\r\n')
        assert read_bounds(tmp_path / 'b.txt').tolist() == [[0, 2], [0, 2]]

    @pytest.mark.parametrize(('text', 'message'), [
        ('', 'is empty'),
        ('0 2\n0\n', "line 2 holds '0', expected two whole numbers"),
        ('0 1.5\n', 'line 1 holds'),
        ('0 nan\n', 'line 1 holds'),
        ('1 2\n1 2\n', 'frame 0 has the bounds 1 2, expected a sequence that starts at 0'),
        ('0 3\n0 3\n', 'frame 0 has the bounds 0 3, .* ends by 2'),
        ('0 0\n', 'frame 0 has the bounds 0 0'),
        ('0 2\n1 2\n', 'frame 1 has the bounds 1 2, expected 0 2'),
        ('0 1\n0 2\n', 'frame 1 has the bounds 0 2, expected a sequence that starts at 1'),
        ('0 2\n0 2\n3 4\n3 4\n', 'frame 2 has the bounds 3 4'),
    ])
    def test_what_is_refused(self, tmp_path, text, message):
        (tmp_path / 'b.txt').write_text(text)
        with pytest.raises(InputError, match=message):
            read_bounds(tmp_path / 'b.txt')

    def test_missing_and_binary(self, tmp_path):
        with pytest.raises(InputError, match='No such file'):
            read_bounds(tmp_path / 'none.txt')
        (tmp_path / 'b.txt').write_bytes(b'\xff\xfe\x00')
        with pytest.raises(InputError, match='is not text'):
            read_bounds(tmp_path / 'b.txt')
        with pytest.raises(InputError, match='expected integers'):
            check_bounds(np.zeros((2, 2)))


class TestNames:
    def test_written_ones_read_back(self, tmp_path):
        names = ('a b/1.png', 'ü/2.png')
        write_names(names, tmp_path / 'names.txt')
        assert read_names(tmp_path / 'names.txt') == names

    def test_what_is_refused(self, tmp_path):
        path = tmp_path / 'names.txt'
        path.write_text('a.png\n\nb.png\n')
        with pytest.raises(InputError, match='line 2 is empty'):
            read_names(path)
        path.write_text('')
        with pytest.raises(InputError, match='is empty'):
            read_names(path)
        with pytest.raises(InputError, match='expected one line'):
            write_names(['a\nb'], path)
        with pytest.raises(InputError, match='cannot be written'):
            write_names(['a'], path / 'names.txt')


class TestSplits:
    def test_published_ones(self, shared_data):
        splits = read_splits(shared_data / 'seqnet_structfiles' / 'oxford-v1.0_splitInds.npz')
        sizes = {name: (len(split.db), len(split.query)) for name, split in splits.items()}
        assert sizes == {'train': (2981, 2931), 'val': (1574, 1576), 'test': (1574, 1576)}
        np.testing.assert_array_equal(splits['test'].db, np.arange(2410, 3984))
        np.testing.assert_array_equal(splits['test'].query, np.arange(2361, 3937))
        assert splits['train'].db.dtype == np.int64

    def test_plain_ones(self, tmp_path):
        np.savez(tmp_path / 's.npz', train_db=np.array([3, 1]), train_query=np.array([2]),
                 test_db=np.array([], dtype=int), test_query=np.array([7, 8]))
        found = read_splits(tmp_path / 's.npz')
        assert {name: [part.tolist() for part in split] for name, split in found.items()} == {
            'train': [[3, 1], [2]], 'test': [[], [7, 8]]}

    def test_vectors_of_equal_length(self, tmp_path):
        # NumPy then stores one object array [2, n] of Python integers.
        pair = np.array([[1, 2, 3], [4, 5, 6]], dtype=object)
        np.savez(tmp_path / 's.npz', trainInds=pair)
        assert [part.tolist() for part in read_splits(tmp_path / 's.npz')['train']] == [
            [1, 2, 3], [4, 5, 6]]

    @pytest.mark.parametrize(('arrays', 'message'), [
        ({'x': np.zeros(2)}, 'holds x, expected trainInds'),
        ({'train_db': np.zeros(2, int)}, 'holds only train_db'),
        ({'train_db': np.zeros(2), 'train_query': np.zeros(2)}, 'float64 .2., expected a vector'),
        ({'train_db': np.array([-1]), 'train_query': np.array([0])}, 'holds the index -1'),
        ({'testInds': np.zeros(3, int)}, 'expected two vectors'),
        ({'testInds': np.array(3)}, 'expected two vectors'),
    ])
    def test_what_is_refused(self, tmp_path, arrays, message):
        np.savez(tmp_path / 's.npz', **arrays)
        with pytest.raises(InputError, match=message):
            read_splits(tmp_path / 's.npz')



class RunsCode:
    """Creates a folder when an unsafe reader rebuilds it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def object_file(path: Path, content: bytes, shape: tuple = (), dtype: str = '|O') -> Path:
    """Write an .npz whose object array is any pickle."""
    header = {'descr': dtype, 'fortran_order': False, 'shape': shape}
    with zipfile.ZipFile(path, 'w') as archive, archive.open('x.npy', 'w') as member:
        np.lib.format.write_array_header_1_0(member, header)
        member.write(content)
    return path


class TestObjectArrays:
    def test_code_is_refused_and_not_run(self, tmp_path):
        array = np.empty(1, dtype=object)
        array[0] = RunsCode(tmp_path / 'trace')
        np.savez(tmp_path / 'bad.npz', trainInds=array)
        with pytest.raises(InputError, match=r'refers to posix.mkdir, which is refused'):
            read_arrays(tmp_path / 'bad.npz')
        assert not (tmp_path / 'trace').exists()
        with np.load(tmp_path / 'bad.npz', allow_pickle=True) as file:
            assert file['trainInds'].shape == (1,)
        assert (tmp_path / 'trace').exists()  # so the file is as bad as it says

    @pytest.mark.parametrize('name', ['builtins.eval', 'numpy.load', 'numpy.core.multiarray.empty',
                                      'collections.OrderedDict', 'os.system'])
    def test_any_other_name_is_refused(self, tmp_path, name):
        module, _, attribute = name.rpartition('.')
        content = f'c{module}\n{attribute}\n.'.encode()
        with pytest.raises(InputError, match=f'refers to {name}'):
            read_arrays(object_file(tmp_path / 'x.npz', content))

    def test_a_type_that_lies_about_objects_is_refused(self, tmp_path):
        """Raw bytes taken for pointers would run anything, without a single name."""
        for code in ('V8', 'S8', 'M8', 'i3'):
            content = pickle.dumps(_Pickled(np.dtype, (code, False, True)))
            with pytest.raises(InputError, match=r'expected numbers|damaged'):
                read_arrays(object_file(tmp_path / 'x.npz', content))

    @pytest.mark.parametrize('value', [
        np.arange(6, dtype='<i2').reshape(2, 3), np.arange(6, dtype='>f8'),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array([True, False]),
        np.array([], dtype=np.int64)])
    def test_arrays_within_arrays(self, tmp_path, value):
        outer = np.empty(2, dtype=object)
        outer[0], outer[1] = value, {'a': [value, (1, None, 'text', np.float32(0.5))]}
        np.savez(tmp_path / 'x.npz', x=outer)
        found = read_arrays(tmp_path / 'x.npz')['x']
        for array in (found[0], found[1]['a'][0]):
            np.testing.assert_array_equal(array, value)
            assert array.dtype == value.dtype
        assert found[1]['a'][1] == (1, None, 'text', 0.5)
        assert type(found[1]['a'][1][3]) is float

    @pytest.mark.parametrize('content', [
        b'', b'\x80\x04', pickle.dumps([1, 2]), pickle.dumps(np.zeros(3, object)),
        pickle.dumps(np.zeros(3, object))[:-5], b'(lp0\ng0\na.', pickle.dumps({1, 2})])
    def test_damaged_ones_are_refused(self, tmp_path, content):
        with pytest.raises(InputError):
            read_arrays(object_file(tmp_path / 'x.npz', content, shape=(2,)))

    def test_files_that_are_no_archives(self, tmp_path):
        (tmp_path / 'x.npz').write_text('text')
        with pytest.raises(InputError, match=r'not a whole .npz file'):
            read_arrays(tmp_path / 'x.npz')
        np.savez(tmp_path / 'y.npz', x=np.arange(1000))
        content = (tmp_path / 'y.npz').read_bytes()
        (tmp_path / 'x.npz').write_bytes(content[:len(content) // 2])
        with pytest.raises(InputError, match=r'not a whole .npz file'):
            read_arrays(tmp_path / 'x.npz')
        for write in (np.savez, np.savez_compressed):
            write(tmp_path / 'y.npz', x=np.arange(1000))
            damaged = bytearray((tmp_path / 'y.npz').read_bytes())
            for position in range(len(damaged) // 3, len(damaged) // 2):
                damaged[position] ^= 255
            (tmp_path / 'x.npz').write_bytes(damaged)
            with pytest.raises(InputError, match=r'not a whole .npz file'):
                read_arrays(tmp_path / 'x.npz')


class _Pickled:
    """Pickles as a call."""

    def __init__(self, function, arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class TestDescriptors:
    def test_published_ones(self, golden):
        mapped = open_descriptors(golden / 'ref.npy')
        assert isinstance(mapped, np.memmap)
        assert mapped.shape == (300, 64)
        rows = np.array([299, 0, 0])
        np.testing.assert_array_equal(read_descriptors(golden / 'ref.npy', rows), mapped[rows])

    def test_both_widths_and_what_is_written(self, tmp_path):
        values = np.random.default_rng(0).normal(size=(5, 3))
        np.save(tmp_path / 'd.npy', values)
        found = read_descriptors(tmp_path / 'd.npy')
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values.astype(np.float32))
        write_descriptors(values, tmp_path / 'e.npy')
        assert open_descriptors(tmp_path / 'e.npy').dtype == np.float32

    def test_only_the_rows_asked_for_are_checked(self, tmp_path):
        values = np.zeros((5, 3), dtype=np.float64)
        values[2, 1] = np.nan
        values[4, 0] = 1e60  # infinite in float32
        np.save(tmp_path / 'd.npy', values)
        read_descriptors(tmp_path / 'd.npy', np.array([0, 1, 3]))
        with pytest.raises(InputError, match='row 2 holds a value that is not finite'):
            read_descriptors(tmp_path / 'd.npy')
        with pytest.raises(InputError, match='row 4 holds'):
            read_descriptors(tmp_path / 'd.npy', np.array([3, 4]))
        with pytest.raises(InputError, match='5 rows, but row 5 was requested'):
            read_descriptors(tmp_path / 'd.npy', np.array([5]))

    @pytest.mark.parametrize('array', [
        np.zeros(3, np.float32), np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.int64),
        np.zeros((0, 3), np.float32), np.zeros((2, 3), np.complex64)])
    def test_other_arrays_are_refused(self, tmp_path, array):
        np.save(tmp_path / 'd.npy', array)
        with pytest.raises(InputError, match=r'expected float16, float32 or float64 \[N, D\]'):
            open_descriptors(tmp_path / 'd.npy')

    def test_damaged_ones_are_refused(self, tmp_path):
        path = tmp_path / 'd.npy'
        with pytest.raises(InputError, match='No such file'):
            open_descriptors(path)
        with pytest.raises(InputError, match='is not a regular file'):
            open_descriptors(tmp_path)
        np.save(path, np.zeros((10, 3)))
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(InputError, match=r'not a whole .npy file'):
            open_descriptors(path)
        path.write_text('text')
        with pytest.raises(InputError, match=r'not a whole .npy file'):
            open_descriptors(path)
        np.save(path, np.array([[1, None]], dtype=object))
        with pytest.raises(InputError, match=r'not a whole .npy file'):
            open_descriptors(path)


class TestResults:
    def test_published_ones(self, golden, tmp_path):
        path = golden / 'raw_results' / 'seqnet_oneseq_results.npz'
        results = read_results(path)
        with np.load(path, allow_pickle=True) as file:
            np.testing.assert_array_equal(results.predictions, file['preds'])
            np.testing.assert_array_equal(results.recalls_by_radius, file['rAtL'])
            assert results.recalls == file['recalls'].item()
            assert results.options == file['args'].item()
        assert all(type(value) is float for value in results.recalls.values())
        write_results(results, tmp_path / 'copy.npz')
        with np.load(path, allow_pickle=True) as before, np.load(
                tmp_path / 'copy.npz', allow_pickle=True) as after:
            assert set(before) == set(after)
            for name in before:
                assert (before[name].dtype, before[name].shape) == (
                    after[name].dtype, after[name].shape)
                np.testing.assert_array_equal(before[name], after[name])

    def test_published_descriptors_with_ground_truth(self, golden):
        path = golden / 'raw_results' / 'seqnet_oneseq_extractOnly.npz'
        arrays = read_arrays(path)
        with np.load(path, allow_pickle=True) as file:
            assert len(arrays['gt']) == 280
            for found, expected in zip(arrays['gt'], file['gt'], strict=True):
                np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(arrays['qDesc'], file['qDesc'])

    def test_predictions_of_plain_files(self, golden):
        assert read_predictions(golden / 'oneseq' / 'hvpr.npz').shape == (280, 20)

    def test_the_least_there_can_be(self, tmp_path):
        np.savez(tmp_path / 'r.npz', preds=np.array([[1, 2]], dtype=np.int32))
        results = read_results(tmp_path / 'r.npz')
        assert (results.recalls, results.recalls_by_radius, results.options) == ({}, None, {})
        write_results(SeqNetResults(results.predictions), tmp_path / 's.npz')
        assert read_predictions(tmp_path / 's.npz').tolist() == [[1, 2]]

    @pytest.mark.parametrize(('arrays', 'message'), [
        ({'x': np.zeros(2)}, 'holds x, expected preds'),
        ({'preds': np.zeros((2, 2))}, 'expected whole numbers'),
        ({'preds': np.zeros(2, int)}, 'expected whole numbers'),
        ({'preds': np.zeros((2, 2), int), 'recalls': np.zeros(5)}, 'expected a dictionary'),
        ({'preds': np.zeros((2, 2), int), 'recalls': np.array({'a': 'b'}, dtype=object)},
         'expected numbers by N'),
    ])
    def test_what_is_refused(self, tmp_path, arrays, message):
        np.savez(tmp_path / 'r.npz', **arrays)
        with pytest.raises(InputError, match=message):
            read_results(tmp_path / 'r.npz')
