"""Outputs other than maps that are interrupted: killed while they are written, or out of space."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from faults.children import chosen_lines, in_child, kill_at_line, without_space
from faults.outcome import DELETED, HALF, LOST, TRACEBACK, Outcome
from faults.workshop import make_map, picture, small_document, small_model
from seqnet_ros.core.documents import read_json
from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.core.files import whole_file
from seqnet_ros.datasets.seqnet.dataset_files import read_bounds, read_descriptors, read_names
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.descriptors.reduction import WEIGHT
from seqnet_ros.descriptors.weights import read_torch
from seqnet_ros.maps.map_archive import export_map, import_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.models.place_model import load_model
from seqnet_ros.training.common.checkpoints import WholeCheckpoints, find_checkpoint
from seqnet_ros.training.common.model_files import WeightsFile, write_model
from seqnet_ros.training.seqnet.dataset_builder import Traverse, make_struct, write_dataset

_BEFORE, _AFTER = 'as before', 'written'
_FOREIGN = {'notes.txt': 'notes', '.last.ckpt.part': 'more notes', 'out.part': 'and more'}
_FRAMES, _VALUES = 12, 16


@dataclass(frozen=True)
class Output:
    """Something that a command writes to a folder.

    Attributes:
        name: what it is.
        prepare: writes what is there before.
        write: writes it.
        written: whether it is there; where what was there before is, False. Raises where neither
            is there whole.
    """

    name: str
    prepare: Callable[[Path], object]
    write: Callable[[Path], object]
    written: Callable[[Path], bool]


def all_outputs(folder: Path) -> list[Output]:
    """Return the outputs; some are made from a map in ``folder``."""
    town = folder / 'town'
    save_map(make_map(small_model()), town)
    return [
        Output('state of a training', _begin_training, partial(_save_state, 2), _is_second_state),
        Output('model', lambda _: None, _write_model, _is_model),
        Output('data set', lambda _: None, _write_dataset, _is_dataset),
        Output('exported map', lambda _: None,
               lambda there: export_map(town, there / 'town.zip'), _is_archive),
        Output('results', partial(_write_results, 'old'), partial(_write_results, 'new'),
               lambda there: _results_are_new(there / 'results.json'))]


def kill_at_every_line(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Kill the writing of each output at lines of the code that it runs, ``count`` in all."""
    outputs = all_outputs(folder)
    for output in outputs:
        there = _fresh(folder, output)
        for line in chosen_lines(partial(output.write, there), chance, count // len(outputs)):
            there = _fresh(folder, output)
            kill_at_line(partial(output.write, there), line)
            _judge(output, there, outcome, f'{output.name}, line {line}')


def no_space(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Write each output where files may not grow beyond a size, which fails like a full disk."""
    outputs = all_outputs(folder)
    for output in outputs:
        there = _fresh(folder, output)
        in_child(partial(output.write, there))
        largest = max(path.stat().st_size for path in there.rglob('*') if path.is_file())
        for _ in range(count // len(outputs)):
            there, limit = _fresh(folder, output), chance.randrange(1, largest + 1)
            case = f'{output.name}, limit {limit}'
            if without_space(partial(output.write, there), limit):
                outcome.add(TRACEBACK, case)
            else:
                _judge(output, there, outcome, case)


def _fresh(folder: Path, output: Output) -> Path:
    """Return a fresh folder with files of a user and what is there before."""
    there = folder / 'case'
    shutil.rmtree(there, ignore_errors=True)
    there.mkdir()
    for name, text in _FOREIGN.items():
        (there / name).write_text(text)
    output.prepare(there)
    return there


def _judge(output: Output, there: Path, outcome: Outcome, case: str) -> None:
    """Look at what a case left: what was there before or the output, and the other files."""
    if any(not (there / name).is_file() or (there / name).read_text() != text
           for name, text in _FOREIGN.items()):
        return outcome.add(DELETED, case)
    try:
        written = output.written(there)
    except FileNotFoundError as error:
        return outcome.add(LOST, f'{case}: {error}')
    except (SeqnetRosError, AssertionError, ValueError) as error:
        return outcome.add(HALF, f'{case}: {error}')
    return outcome.add(_AFTER if written else _BEFORE)


def _begin_training(there: Path) -> None:
    _save_state(0, there)
    _save_state(1, there)


def _save_state(epoch: int, there: Path) -> None:
    WholeCheckpoints().save_checkpoint(
        {'epoch': epoch, 'state_dict': {'weight': torch.full((64, 64), float(epoch))}},
        there / 'last.ckpt')


def _is_second_state(there: Path) -> bool:
    state = read_torch(find_checkpoint(there / 'last.ckpt'))
    assert (state['state_dict']['weight'] == state['epoch']).all(), 'a mixture of two states'
    assert state['epoch'] in (1, 2), f'epoch {state["epoch"]}'
    return bool(state['epoch'] == 2)


def _write_model(there: Path) -> None:
    document = small_document() | {'name': 'short'}
    section = document['reduction'] = {'kind': 'pca', 'dim': _VALUES}
    weight = torch.eye(_VALUES, small_model().describer.dim)
    write_model(there / 'short.yaml', document,
                [WeightsFile('.safetensors', section, {WEIGHT: weight})])


def _is_model(there: Path) -> bool:
    if not (there / 'short.yaml').exists():
        return False
    described = load_model(there / 'short.yaml', 'cpu').describe(picture(0))
    assert described.shape == (_VALUES,), f'descriptors of {described.shape}'
    return True


def _write_dataset(there: Path) -> None:
    random_values = np.random.default_rng(0)
    drives = [Traverse(tuple(f'{name}/{number:03}.png' for number in range(_FRAMES)),
                       random_values.standard_normal((_FRAMES, _VALUES)).astype(np.float32),
                       np.arange(float(_FRAMES))[:, None], (0, _FRAMES // 2))
              for name in ('day', 'night')]
    struct = make_struct(drives[0], drives[1], 'town', 'train', 2.0, 1.0)
    write_dataset(struct, drives[0], drives[1], 'small', there / 'out')


def _is_dataset(there: Path) -> bool:
    out = there / 'out'
    if not out.exists():
        return False
    struct, = (out / 'structFiles').glob('*.db')
    assert len(read_struct(struct).db_images) == _FRAMES, 'other images'
    for drive in ('database', 'query'):
        structs = out / 'structFiles'
        descriptors = read_descriptors(out / 'data' / 'descData' / 'small' / f'town_{drive}.npy')
        assert descriptors.shape == (_FRAMES, _VALUES), f'descriptors of {descriptors.shape}'
        bounds = read_bounds(structs / 'seqBoundsFiles' / f'town_{drive}_seqBounds.txt')
        names = read_names(structs / 'imageNamesFiles' / f'town_{drive}_imageNames.txt')
        assert len(bounds) == len(names) == _FRAMES, 'other frames'
    return True


def _is_archive(there: Path) -> bool:
    if not (there / 'town.zip').exists():
        return False
    import_map(there / 'town.zip', there / 'imported')
    return True


def _write_results(value: str, there: Path) -> None:
    with whole_file(there / 'results.json') as file:
        file.write(json.dumps({'runs': [value] * 500}).encode())


def _results_are_new(path: Path) -> bool:
    found = set(read_json(path)['runs'])
    assert found in ({'old'}, {'new'}), f'a mixture: {found}'
    return found == {'new'}
