"""Fault injection in an order determined by a seed."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqnet_ros.srv import FindPlace, LoadMap, SaveMap
from std_srvs.srv import Trigger

from seqnet_ros.nodes.conversions import stamp_to_ns
from soak.check_results import CheckResults
from soak.checks import check_counts, check_match, check_places
from soak.endless_drive import EndlessDrive, broken_images
from soak.peer import Peer
from soak.sent_images import SearchedMaps

_LIVE: dict[str, tuple[Any, ...]] = {
    'matching.top_k': (5, 20, 40), 'matching.candidates': (1, 3, 5),
    'matching.merge_frames': (1, 3), 'sequence.length': (3, 5, 8),
    'acceptance.min_margin': (0.0, 0.02), 'acceptance.agreement': (1, 3, 10),
    'acceptance.false_positive_rate': (0.01, 0.1), 'keyframes.every': ('1', '2', '1m', '0.3s'),
    'keyframes.max_gap_s': (2.0, 5.0, 50.0)}
_OVERWRITES = 0.8
"""How often a map may replace the one saved before."""
_REFUSED: dict[str, Any] = {
    'matching.top_k': 0, 'keyframes.every': 'often', 'acceptance.min_margin': 2.0,
    'device': 'openvino', 'image_transport': 'compressed', 'sequence.length': 'long'}


class FaultInjector:
    """Lets things happen, each kind once in every round, in an order that chance decides.

    Args:
        peer: who acts.
        drive: that goes on meanwhile.
        chance: decides.
        findings: where to note what is wrong.
        judge: called when the node is idle and all of its results are here.
    """

    def __init__(self, peer: Peer, drive: EndlessDrive, chance: random.Random,
                 findings: CheckResults, judge: Callable[[], None]) -> None:
        self._peer = peer
        self._drive = drive
        self._chance = chance
        self._findings = findings
        self._judge = judge
        self._round: list[Callable[[], None]] = []
        self._earlier: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()

    def kinds(self) -> list[Callable[[], None]]:
        """Return everything that can happen."""
        return [self.time_jumps_ahead, self.time_jumps_back, self.bag_loops, self.stamps_repeat,
                self.robot_stands, self.other_street, self.odd_images, self.odometry_gap,
                self.odometry_restarts, self.pause, self.settings_change, self.settings_refused,
                self.clear, self.deactivate, self.clean_up]

    def next(self) -> str:
        """Let the next thing happen; return what it was."""
        if not self._round:
            self._round = self.kinds()
            self._chance.shuffle(self._round)
        happening = self._round.pop()
        name = happening.__name__.replace('_', ' ')
        self.happened[name] += 1
        happening()
        return name

    @property
    def totals(self) -> Counter[str]:
        """The node's counters over all activations."""
        totals = Counter(self._earlier)
        totals.update(self._peer.counts)
        return totals

    def account(self) -> None:
        """Wait until the node is idle and check its counters and its results so far."""
        check_counts(self._peer.settle(), self._findings)
        self._peer.settle_messages()
        self._judge()

    # Time and images.

    def time_jumps_ahead(self) -> None:
        """The clock is set."""
        self._drive.jump(self._chance.choice((6.0, 3600.0, 1e6)))

    def time_jumps_back(self) -> None:
        """The clock is set back."""
        self._drive.jump(-self._chance.choice((0.5, 30.0, 1e5)))

    def bag_loops(self) -> None:
        """The recording restarts."""
        self._drive.loop()

    def stamps_repeat(self) -> None:
        """A driver sends images twice."""
        self._drive.repeat_stamp()

    def robot_stands(self) -> None:
        """Nothing moves but time."""
        self._drive.stand(self._chance.randrange(10, 30))

    def other_street(self) -> None:
        """The robot is carried away."""
        self._drive.change_street()

    def odd_images(self) -> None:
        """A camera sends something else."""
        self._drive.show_odd()

    # Odometry.

    def odometry_gap(self) -> None:
        """No odometry for a while."""
        self._drive.odometry = False
        self._drive.go(self._chance.randrange(10, 40))
        self._drive.odometry = True

    def odometry_restarts(self) -> None:
        """Odometry sends invalid poses, then restarts in the past."""
        self._drive.break_odometry()

    # What an operator does.

    def pause(self) -> None:
        """Pause and resume."""
        for service, again in (('pause', 'paused already'), ('resume', 'running already')):
            for message in ('', again):
                answer = self._peer.call(Trigger, service)
                self._findings.expect(
                    answer.success and (not message or answer.message == message),
                    f'{service} answered wrongly', answer.message)
            self._drive.go(self._chance.randrange(5, 20))

    def settings_change(self) -> None:
        """Set parameters while images come."""
        for name in self._chance.sample(sorted(_LIVE), 3):
            reason = self._peer.set_parameter(name, self._chance.choice(_LIVE[name]))
            self._findings.expect(not reason, 'good value refused', f'{name}: {reason}')
            self._drive.go(5)

    def settings_refused(self) -> None:
        """Set parameters to what they cannot be."""
        name = self._chance.choice(sorted(_REFUSED))
        reason = self._peer.set_parameter(name, _REFUSED[name])
        self._findings.expect(bool(reason) and reason != 'refused without a reason',
                              'bad value not refused with a reason', name)

    def clear(self) -> None:
        """Forget everything."""
        answer = self._peer.call(Trigger, 'clear')
        self._findings.expect(answer.success, 'clear refused', answer.message)

    # Lifecycle.

    def deactivate(self) -> None:
        """Deactivate and activate."""
        self._stop_and_start('deactivate')

    def clean_up(self) -> None:
        """Forget everything and start from nothing."""
        self._stop_and_start('deactivate', 'cleanup', 'configure')

    def _stop_and_start(self, *transitions: str) -> None:
        self.account()
        self._earlier = self.totals
        for transition in transitions:
            self._findings.expect(
                self._peer.change_state(transition), f'{transition} failed')
            self._drive.go(5)
        self._findings.expect(self._peer.change_state('activate'), 'activate failed')
        self._peer.wait_until_active()


class LocalizerFaultInjector(FaultInjector):
    """Faults specific to the localizer.

    Args:
        arguments: as of `FaultInjector`.
        ids: the ids of the maps that may be found at each path, where another process saves.
        maps: all maps by their ids.
        folder: for saved maps.
    """

    def __init__(self, *arguments: Any, ids: dict[Path, frozenset[str]], maps: dict[str, Any],
                 folder: Path) -> None:
        super().__init__(*arguments)
        self._maps = maps
        self._ids = ids
        self._folder = folder
        self._first = min(ids)
        self._loaded = {self._first}
        self.searched = SearchedMaps(set(ids[self._first]))

    def kinds(self) -> list[Callable[[], None]]:
        """Return everything that can happen."""
        return [*super().kinds(), self.switch_map, self.switch_map, self.add_map, self.bad_map,
                self.clear_while_loading, self.save_map, self.find_place, self.find_nothing]

    def switch_map(self) -> None:
        """Load a map in place of those searched."""
        self._load(self._chance.choice(sorted(self._ids)), add=False)

    def add_map(self) -> None:
        """Load both maps."""
        self._load(min(self._ids), add=False)
        self._load(max(self._ids), add=True)

    def _load(self, path: Path, add: bool) -> None:
        wanted = self._ids[path] | (self.searched.now if add else frozenset())
        self.searched.may_become(wanted)
        future = self._peer.ask(LoadMap, 'load_map', path=str(path), add=add)
        self._drive.go_until(future.done)
        answer = self._peer.answer(future, 'load_map')
        self._findings.expect(answer.result == answer.RESULT_SUCCESS, 'map not loaded',
                              answer.message)
        self.searched.became(wanted)
        self._loaded = {path} | (self._loaded if add else set())

    def bad_map(self) -> None:
        """Load what is no map; the maps in use stay."""
        answer = self._peer.call(LoadMap, 'load_map', path=str(self._folder / 'nothing'))
        self._findings.expect(answer.result == answer.RESULT_MAP_NOT_FOUND,
                              'wrong answer to a map that is not there', answer.message)

    def clear(self) -> None:
        """Search no map for a while."""
        super().clear()
        self.searched.became(frozenset())
        self._loaded = set()
        self._drive.go(self._chance.randrange(5, 20))
        self.switch_map()

    def clear_while_loading(self) -> None:
        """Clear and load at once: either may come first."""
        everything = frozenset(self._maps)
        self.searched.may_become(everything)
        future = self._peer.ask(LoadMap, 'load_map', path=str(max(self._ids)))
        super().clear()
        self._drive.go_until(future.done)
        self._peer.answer(future, 'load_map')
        self._load(min(self._ids), add=False)

    def clean_up(self) -> None:
        """Start from nothing with the map of the parameter."""
        first = self._ids[self._first]
        self.searched.may_become(first)
        super().clean_up()
        self.searched.became(first)
        self._loaded = {self._first}

    def save_map(self) -> None:
        """Save a copy of the map, or be told why not."""
        path = self._folder / 'copy'
        overwrite, exists = self._chance.random() < _OVERWRITES, path.exists()
        answer = self._peer.call(SaveMap, 'save_map', path=str(path), overwrite=overwrite)
        expected = (answer.RESULT_SEVERAL_MAPS if len(self._loaded) > 1 else
                    answer.RESULT_MAP_EXISTS if exists and not overwrite else
                    answer.RESULT_SUCCESS)
        self._findings.expect(answer.result == expected, 'wrong answer to save_map',
                              answer.message)

    def find_place(self) -> None:
        """Ask where some images were taken, while others come."""
        images = self._drive.views(5)
        future = self._peer.ask(FindPlace, 'find_place', images=images)
        self._drive.go_until(future.done)
        answer = self._peer.answer(future, 'find_place')
        self._findings.expect(answer.result == answer.RESULT_SUCCESS, 'find_place failed',
                              answer.message)
        if answer.result != answer.RESULT_SUCCESS:
            return
        now_s, match = time.monotonic(), answer.match
        check_match(match, now_s, self._peer.sent, self._findings)
        check_places(match, now_s, self._peer.sent, self.searched, self._maps, self._findings)
        self._findings.expect(
            stamp_to_ns(match.header.stamp) == stamp_to_ns(images[-1].header.stamp)
            and stamp_to_ns(match.sequence_start) == stamp_to_ns(images[0].header.stamp),
            'find_place speaks of other images')
        self._findings.expect(bool(match.candidates), 'find_place offers no place')

    def find_nothing(self) -> None:
        """Ask where no images and useless images were taken."""
        answer = self._peer.call(FindPlace, 'find_place')
        self._findings.expect(answer.result == answer.RESULT_NO_IMAGES,
                              'wrong answer to no images', answer.message)
        answer = self._peer.call(FindPlace, 'find_place', images=broken_images()[:2])
        self._findings.expect(answer.result == answer.RESULT_INVALID_IMAGE,
                              'wrong answer to broken images', answer.message)


class LoopCloserFaultInjector(FaultInjector):
    """Faults specific to the loop closer.

    Args:
        folder: for saved maps.
        arguments: as of `FaultInjector`.
    """

    def __init__(self, *arguments: Any, folder: Path) -> None:
        super().__init__(*arguments)
        self._folder = folder

    def kinds(self) -> list[Callable[[], None]]:
        """Return everything that can happen."""
        return [*super().kinds(), self.save_map]

    def save_map(self) -> None:
        """Save the drive so far while it continues."""
        future = self._peer.ask(SaveMap, 'save_map', path=str(self._folder / 'drive'),
                                overwrite=True)
        self._drive.go_until(future.done)
        answer = self._peer.answer(future, 'save_map')
        self._findings.expect(
            answer.result in (answer.RESULT_SUCCESS, answer.RESULT_NOTHING_TO_SAVE),
            'drive not saved', answer.message)
