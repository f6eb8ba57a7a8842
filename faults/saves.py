"""Saves that are interrupted: killed, out of space, without power, and several at once."""

import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from faults.children import chosen_lines, in_child, kill_at_line, without_space
from faults.outcome import ACCEPTED, DELETED, HALF, LOST, TRACEBACK, Outcome
from faults.power_loss import Recorder, after_power_loss
from faults.workshop import digest_tree, make_map, small_model
from seqnet_ros.core.errors import MapError, MapNotFoundError, MapWriteError
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap


class Ground:
    """A folder with a map ``town`` and files of a user beside it, set up anew for each case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / 'template'
        model = small_model()
        self.old, self.new = make_map(model, 0), make_map(model, 1)
        self.ids = {self.old.manifest.map_id, self.new.manifest.map_id}
        (self._template / 'web').mkdir(parents=True)
        (self._template / 'web' / 'manifest.json').write_text('{"name": "a web project"}')
        (self._template / 'notes.txt').write_text('notes')
        (self._template / '.town.old.txt').write_text('more notes')
        save_map(self.old, self._template / 'town')
        self._foreign = {name: digest for name, digest in digest_tree(self._template).items()
                         if not name.startswith('town/')}

    def fresh(self) -> Path:
        """Return the path of the map in a fresh folder."""
        folder = self._folder / 'case'
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._template, folder)
        return folder / 'town'

    def judge(self, path: Path, outcome: Outcome, case: object) -> None:
        """Look at what a case left: the old map or the new one is there, and the other files."""
        try:
            found = verify_map(path).map_id
        except MapNotFoundError as error:
            return outcome.add(LOST, f'{case}: {error}')
        except MapError as error:
            return outcome.add(HALF, f'{case}: {error}')
        kept = {name: digest for name, digest in digest_tree(path.parent).items()
                if name in self._foreign}
        if kept != self._foreign:
            return outcome.add(DELETED, case)
        if found not in self.ids:
            return outcome.add(HALF, f'{case}: map {found}')
        # A later save keeps what a killed one left: the old map must be somewhere.
        if found != self.old.manifest.map_id:
            save_map(self.old, path.with_name('other'))
            backups = [*path.parent.glob('town~*'), *path.parent.glob('.town.*.old')]
            if self.old.manifest.map_id not in {verify_map(one).map_id for one in backups}:
                return outcome.add(LOST, f'{case}: the old map is nowhere')
        return outcome.add('old map' if found == self.old.manifest.map_id else 'new map')


def kill_at_every_line(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Kill a save with backup at lines of the code that it runs, at most ``count`` of them."""
    ground = Ground(folder)
    path = ground.fresh()

    def save() -> None:
        save_map(ground.new, path, overwrite=True)

    for line in chosen_lines(save, chance, count):
        path = ground.fresh()
        kill_at_line(save, line)
        ground.judge(path, outcome, f'line {line}')


def no_space(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Save where the files may not grow beyond a size, which fails like a full disk."""
    ground = Ground(folder)
    largest = max(file.stat().st_size for file in ground.fresh().iterdir())
    for _ in range(count):
        path, limit = ground.fresh(), chance.randrange(1, largest + 1)
        before = digest_tree(path.parent)
        if without_space(partial(save_map, ground.new, path, overwrite=True), limit,
                         MapWriteError):
            outcome.add(TRACEBACK, f'limit {limit}')
        elif digest_tree(path.parent) != before and verify_map(
                path).map_id != ground.new.manifest.map_id:
            outcome.add(HALF, f'limit {limit}')
        else:
            ground.judge(path, outcome, f'limit {limit}')


def power_loss(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Replay a save up to a moment, with any part of what was not synced then."""
    ground = Ground(folder)
    path = ground.fresh()
    recorder = Recorder(path.parent)
    with recorder:
        save_map(ground.new, path, overwrite=True)
    for number in range(count):
        case = folder / 'after'
        shutil.rmtree(case, ignore_errors=True)
        moment = after_power_loss(recorder, case, chance)
        ground.judge(case / 'town', outcome, f'case {number}, moment {moment}')


def kill_commands(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Kill ``map build --overwrite`` at any time."""
    import cv2

    from faults.workshop import picture
    from seqnet_ros.cli.main import main

    ground = Ground(folder)
    images = folder / 'images'
    images.mkdir()
    for number in range(12):
        cv2.imwrite(str(images / f'{number:03}.png'), picture(number))

    def build(path: Path) -> Callable[[], None]:
        def job() -> None:
            with open(os.devnull, 'w') as quiet:  # noqa: PTH123
                os.dup2(quiet.fileno(), 1)
                os.dup2(quiet.fileno(), 2)
            sys.argv = ['seqnet_ros', 'map', 'build', str(images), '--output', str(path),
                        '--overwrite', '--every', '1', '--rate', '5']
            try:
                main()
            except SystemExit as end:
                os._exit(int(end.code or 0))

        return job

    path = ground.fresh()
    started = time.monotonic()
    status = in_child(build(path))
    duration_s = time.monotonic() - started
    if status:
        outcome.add(TRACEBACK, f'the command alone ended with status {status}')
        return
    ground.ids.add(verify_map(path).map_id)
    for _ in range(count):
        path, after_s = ground.fresh(), chance.uniform(0, 1.1 * duration_s)
        process = multiprocessing.get_context('fork').Process(target=build(path))
        process.start()
        process.join(after_s)
        process.kill()
        process.join()
        # The map that is built has another id each time, by its stamps of creation.
        found = _id_of(path)
        if found is not None:
            ground.ids.add(found)
        ground.judge(path, outcome, f'killed after {after_s:.2f} s')


def _id_of(path: Path) -> str | None:
    try:
        return verify_map(path).map_id
    except MapError:
        return None


def savers_and_openers(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Two processes save maps in turn, while this one opens them ``count`` times."""
    ground = Ground(folder)
    path = ground.fresh()
    maps = [ground.old, ground.new]
    context = multiprocessing.get_context('fork')
    savers = [context.Process(target=_save_in_turn, args=(maps, path, chance.random()))
              for _ in range(2)]
    arrays = {one.manifest.map_id: one.arrays() for one in maps}
    for saver in savers:
        saver.start()
    try:
        for number in range(count):
            try:
                found = open_map(path)
            except MapNotFoundError as error:
                outcome.add(LOST, f'opening {number}: {error}')
                continue
            except MapError as error:
                outcome.add(HALF, f'opening {number}: {error}')
                continue
            expected = arrays.get(found.manifest.map_id, {})
            same = all((found.arrays()[name] == array).all() for name, array in expected.items())
            outcome.add(ACCEPTED if expected and same else HALF, f'opening {number}: a mixture')
    finally:
        for saver in savers:
            saver.kill()
            saver.join()
    ground.ids |= set(arrays)


def _save_in_turn(maps: list[PlaceMap], path: Path, seed: float) -> None:
    chance = random.Random(seed)
    while True:
        save_map(chance.choice(maps), path, overwrite=True, backup=False)

