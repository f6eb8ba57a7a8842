"""One soak run: a node, everything that happens to it, and the checks."""

import random
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import load_model
from soak.bystanders import Bystanders
from soak.check_results import CheckResults
from soak.checks import (
    DriveSoFar,
    check_log,
    check_loops,
    check_match,
    check_places,
    check_poses,
    check_sequence,
    is_elsewhere,
)
from soak.endless_drive import EndlessDrive, Paced
from soak.fault_injection import FaultInjector, LocalizerFaultInjector, LoopCloserFaultInjector
from soak.node_process import NodeProcess
from soak.peer import Peer
from soak.streets import drive_streets, make_maps
from soak.trends import (
    BOUND_MIB,
    GROWTH_MIB,
    SLOWER,
    Sample,
    Trend,
    grows,
    hourly_trend,
    memory_trend,
    quarters,
)

_LAP_M = 70.0
_COMMON = {'model': 'hog', 'device': 'cpu', 'diagnostics_period_s': 0.1, 'silence_after_s': 60.0,
           'sequence.length': 5, 'matching.speed_steps': 1}
_PROVOKED = ('ignored an image',)
_PACED_S = (1.0, 4.0)
"""Between two faults, at a given rate."""
_MIB = 2**20


@dataclass(frozen=True)
class Plan:
    """How long a run takes, and how fast images come.

    Attributes:
        seed: decides what happens when.
        count: images that the node has to process.
        seconds: time that the run lasts, if it is given in place of the count.
        factor: images that reach the node for each that it processes; None lets chance decide.
    """

    seed: int
    count: int = 0
    seconds: float = 0.0
    factor: float | None = None


@dataclass
class Outcome:
    """Result of a run.

    Attributes:
        node: name of the node.
        seconds: time it took.
        sent: images sent.
        counts: the node's counters.
        happened: how often each thing happened.
        messages: results by topic.
        accepted: accepted matches among them.
        elsewhere: accepted matches of a place far from where the image was taken.
        cpu_ms: CPU time of the node for an image processed, ms.
        paced: what was sent and processed at a given rate.
        samples: state of the process after each event.
        latency_ms: 50th and 99th percentile from sending an image to its result, for each quarter.
        findings: what is wrong.
    """

    node: str
    seconds: float = 0.0
    sent: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)
    messages: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    elsewhere: int = 0
    cpu_ms: float = 0.0
    paced: Paced = field(default_factory=Paced)
    samples: list[Sample] = field(default_factory=list)
    latency_ms: dict[int, list[float]] = field(default_factory=dict)
    findings: CheckResults = field(default_factory=CheckResults)

    @property
    def memory(self) -> Trend | None:
        """Growth of memory, MiB in 10,000 images; None where the run was too short."""
        return memory_trend(self.samples)

    @property
    def handles(self) -> Trend | None:
        """Growth of the open handles in an hour; None where the run was too short."""
        return hourly_trend(self.samples, 'handles')

    @property
    def threads(self) -> Trend | None:
        """Growth of the threads in an hour; None where the run was too short."""
        return hourly_trend(self.samples, 'threads')


class _Judge:
    """Checks the results so far and forgets them.

    Args:
        peer: who keeps them.
        check: checks what is special to a node.
        outcome: where to count.
        elsewhere: takes a line for each accepted match of a wrong place.
    """

    def __init__(self, peer: Peer, check: Callable[[Peer, CheckResults], None],
                 outcome: Outcome, elsewhere: TextIO) -> None:
        self._peer, self._check, self._outcome = peer, check, outcome
        self._elsewhere = elsewhere
        elsewhere.write('image,x,y,map,place,place x,place y,score,off map\n')
        self._newest = -1
        self._times_s, self._latencies_s = array('d'), array('d')

    def judge(self) -> None:
        """Check all results that have arrived."""
        peer, outcome = self._peer, self._outcome
        for arrived_s, match in peer.matches:
            number = check_match(match, arrived_s, peer.sent, outcome.findings)
            self._newest = check_sequence(number, self._newest, outcome.findings)
            if number is not None:
                self._times_s.append(arrived_s)
                self._latencies_s.append(arrived_s - peer.sent.sent_s(number))
            outcome.accepted += match.accepted
            if number is not None and is_elsewhere(match, number, peer.sent):
                outcome.elsewhere += 1
                self._note_elsewhere(match, number)
        self._check(peer, outcome.findings)
        outcome.messages.update({topic: len(arrived) for topic, arrived in (
            ('place_match', peer.matches), ('pose', peer.poses),
            ('loop_closure', peer.closures), ('rejected_loop_closure', peer.rejected)) if arrived})
        peer.forget_messages()

    def _note_elsewhere(self, match: Any, number: int) -> None:
        """Keep an accepted match of a wrong place, for whoever looks into it."""
        best = match.candidates[0]
        taken = self._peer.sent.position(number)
        self._elsewhere.write(f'{number},{taken[0]:.2f},{taken[1]:.2f},{best.map_id},'
                              f'{best.place_id},{best.pose.position.x:.2f},'
                              f'{best.pose.position.y:.2f},{best.score:.3f},{match.off_map:.3f}\n')

    def close(self) -> None:
        """Check the rest, and what all results have in common."""
        self.judge()
        outcome, findings = self._outcome, self._outcome.findings
        for percent in (50, 99):
            outcome.latency_ms[percent] = [1e3 * value for value in quarters(
                np.array(self._times_s), np.array(self._latencies_s), percent)]
        findings.expect(outcome.accepted > 0, 'no match was accepted')
        findings.expect(outcome.counts['unusable'] > 0, 'no broken image was noticed')


def soak_localizer(plan: Plan, folder: Path,
                   show: Callable[[float], None] = lambda _: None) -> Outcome:
    """Let a localizer process images, and check what it says.

    Args:
        plan: how long, and how fast.
        folder: for maps and the log.
        show: called with the share of the run that is over.

    Raises:
        SoakError: the node ended, or does not answer.
    """
    versions, maps = _make_versions(folder)
    ids = {path: frozenset(open_map(one).manifest.map_id for one in sources)
           for path, sources in versions.items()}
    injectors: list[LocalizerFaultInjector] = []

    def happenings(*arguments: object) -> LocalizerFaultInjector:
        injectors.append(LocalizerFaultInjector(*arguments, ids=ids, maps=maps, folder=folder))
        return injectors[0]

    def check(peer: Peer, findings: CheckResults) -> None:
        for arrived_s, match in peer.matches:
            check_places(match, arrived_s, peer.sent, injectors[0].searched, maps, findings)
        check_poses(peer.matches, peer.poses, findings)

    return _soak('localizer', {'map': min(ids)}, plan, folder, happenings, check, show, versions)


def _make_versions(folder: Path) -> tuple[dict[Path, list[Path]], dict[str, PlaceMap]]:
    """Return the paths of maps with the versions saved there in turn, and those by their ids."""
    model = load_model('hog', device='cpu')
    versions: dict[Path, list[Path]] = {}
    maps: dict[str, PlaceMap] = {}
    for number, skipped in enumerate((0, 2)):
        source = folder / f'version-{number}'
        source.mkdir(exist_ok=True)
        for path in make_maps(model, source, _LAP_M, skipped=skipped):
            versions.setdefault(folder / path.name, []).append(path)
            place_map = open_map(path, model)
            maps[place_map.manifest.map_id] = place_map
    for path, sources in versions.items():
        save_map(open_map(sources[0]), path, overwrite=True, backup=False)
    return versions, maps


def soak_loop_closer(plan: Plan, folder: Path,
                     show: Callable[[float], None] = lambda _: None) -> Outcome:
    """Let a loop closer process images, and check what it says; as `soak_localizer`."""
    drive = DriveSoFar()

    def happenings(*arguments: object) -> LoopCloserFaultInjector:
        return LoopCloserFaultInjector(*arguments, folder=folder)

    def check(peer: Peer, findings: CheckResults) -> None:
        check_loops(peer.matches, peer.closures, peer.rejected, peer.sent, drive, findings)

    return _soak('loop_closer', {'loop.exclude_m': 15.0, 'keep_images': False}, plan, folder,
                 happenings, check, show)


def _soak(name: str, parameters: dict[str, object], plan: Plan, folder: Path,
          make_happenings: Callable[..., FaultInjector],
          check: Callable[[Peer, CheckResults], None], show: Callable[[float], None],
          versions: Mapping[Path, list[Path]] | None = None) -> Outcome:
    outcome, chance = Outcome(name), random.Random(plan.seed)
    laps = drive_streets(1, _LAP_M)
    with (NodeProcess(name, {**_COMMON, **parameters}, folder / f'{name}.log') as node,
          (folder / 'elsewhere.csv').open('w') as elsewhere,
          (folder / 'samples.csv').open('w') as table):
        table.write('seconds,images sent,images processed,bytes,handles,threads,event\n')
        peer = Peer(name, node.check)
        try:
            peer.wait_until_active()
            starting_s, started = node.cpu_seconds, time.monotonic()
            drive = EndlessDrive(peer, laps, chance, plan.factor)
            judge = _Judge(peer, check, outcome, elsewhere)
            happenings = make_happenings(peer, drive, chance, outcome.findings, judge.judge)
            with Bystanders(name, folder, plan.seed, versions) as bystanders:
                while (share := _share(plan, happenings, started)) < 1 or (
                        len(happenings.happened) < len(set(happenings.kinds()))):
                    show(share)
                    bystanders.check()
                    if plan.factor is None:
                        drive.go(chance.randrange(20, 90))
                    else:
                        drive.go_for(chance.uniform(*_PACED_S))
                    event = happenings.next()
                    sample = Sample(
                        time.monotonic() - started, happenings.totals['processed'],
                        node.resident_bytes, node.handles, node.threads)
                    outcome.samples.append(sample)
                    table.write(f'{sample.seconds:.1f},{drive.images},{sample.images},'
                                f'{sample.resident},{sample.handles},{sample.threads},{event}\n')
                    table.flush()
                    elsewhere.flush()
            happenings.account()
            outcome.counts = dict(happenings.totals)
            outcome.cpu_ms = 1e3 * (node.cpu_seconds - starting_s) / outcome.counts['processed']
            outcome.seconds = time.monotonic() - started
            node.stop()
            judge.close()
            check_log(node.printed, lambda line: any(text in line for text in _PROVOKED),
                      outcome.findings)
        finally:
            peer.close()
    outcome.sent, outcome.paced = drive.images, drive.paced
    outcome.happened = dict(happenings.happened + bystanders.happened)
    _judge_trends(outcome)
    return outcome


def _share(plan: Plan, happenings: FaultInjector, started_s: float) -> float:
    """Return the share of a run that is over."""
    if plan.seconds:
        return (time.monotonic() - started_s) / plan.seconds
    return happenings.totals['processed'] / plan.count


def _judge_trends(outcome: Outcome) -> None:
    expect, memory = outcome.findings.expect, outcome.memory
    if memory is None or outcome.handles is None or outcome.threads is None:
        return
    expect(memory.slope <= BOUND_MIB, 'memory that grows',
           f'{memory} MiB in 10,000 images, at most {BOUND_MIB:g} are allowed')
    expect(not grows(memory, GROWTH_MIB), 'memory that grows',
           f'{memory} MiB in 10,000 images, {memory.slope * memory.span:.1f} MiB in all, at most '
           f'{GROWTH_MIB:g} are allowed')
    for what, found in (('handles', outcome.handles), ('threads', outcome.threads)):
        expect(not grows(found, 1.0), f'{what} that grow in number', f'{found} an hour')
    first, *_, last = outcome.latency_ms[99]
    expect(last <= SLOWER * first, 'latency that grows', f'{first:.0f} ms, then {last:.0f} ms')
