"""One soak run: a node, everything that happens to it, and the checks."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import load_model
from soak.check_results import CheckResults
from soak.checks import check_log, check_loops, check_match, check_places, check_poses
from soak.endless_drive import EndlessDrive
from soak.fault_injection import FaultInjector, LocalizerFaultInjector, LoopCloserFaultInjector
from soak.memory import BOUND_MIB, slope_mib
from soak.node_process import NodeProcess
from soak.peer import Peer
from soak.streets import drive_streets, make_maps

_MIB = 2**20
_LAP_M = 70.0
_COMMON = {'model': 'hog', 'device': 'cpu', 'diagnostics_period_s': 0.1, 'silence_after_s': 60.0,
           'sequence.length': 5, 'matching.speed_steps': 1}
_PROVOKED = ('ignored an image',)


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
        cpu_ms: CPU time of the node for an image processed, ms.
        memory_mib: resident memory after the warm-up and at the end, MiB.
        slope: growth of memory, MiB in 10,000 images; None where the run was too short.
        findings: what is wrong.
    """

    node: str
    seconds: float = 0.0
    sent: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    cpu_ms: float = 0.0
    memory_mib: tuple[float, float] = (0.0, 0.0)
    slope: float | None = None
    findings: CheckResults = field(default_factory=CheckResults)


def soak_localizer(count: int, seed: int, folder: Path,
                   show: Callable[[int], None] = lambda _: None) -> Outcome:
    """Let a localizer process images, and check what it says.

    Args:
        count: images it has to process.
        seed: decides what happens when.
        folder: for maps and the log.
        show: called with the number of images processed so far.

    Raises:
        SoakError: the node ended, or does not answer.
    """
    model = load_model('hog', device='cpu')
    paths = make_maps(model, folder, _LAP_M)
    maps: dict[str, PlaceMap] = {}
    for path in paths:
        place_map = open_map(path, model)
        maps[place_map.manifest.map_id] = place_map

    def happenings(*arguments: object) -> LocalizerFaultInjector:
        return LocalizerFaultInjector(*arguments, paths=paths, maps=maps, folder=folder)

    def check(peer: Peer, happened: FaultInjector, findings: CheckResults) -> None:
        assert isinstance(happened, LocalizerFaultInjector)
        for arrived_s, match in peer.matches:
            check_places(match, arrived_s, peer.sent, happened.searched, maps, findings)
        check_poses(peer.matches, peer.poses, findings)

    return _soak('localizer', {'map': paths[0]}, count, seed, folder, happenings, check, show)


def soak_loop_closer(count: int, seed: int, folder: Path,
                     show: Callable[[int], None] = lambda _: None) -> Outcome:
    """Let a loop closer process images, and check what it says; as `soak_localizer`."""
    def happenings(*arguments: object) -> LoopCloserFaultInjector:
        return LoopCloserFaultInjector(*arguments, folder=folder)

    def check(peer: Peer, _: FaultInjector, findings: CheckResults) -> None:
        check_loops(peer.matches, peer.closures, peer.rejected, peer.sent, findings)

    return _soak('loop_closer', {'loop.exclude_m': 15.0, 'keep_images': False}, count, seed,
                 folder, happenings, check, show)


def _soak(name: str, parameters: dict[str, object], count: int, seed: int, folder: Path,
          make_happenings: Callable[..., FaultInjector],
          check: Callable[[Peer, FaultInjector, CheckResults], None],
          show: Callable[[int], None]) -> Outcome:
    outcome, chance = Outcome(name), random.Random(seed)
    laps = drive_streets(1, _LAP_M)
    memory: list[tuple[int, int]] = []
    started = time.monotonic()
    with NodeProcess(name, {**_COMMON, **parameters}, folder / f'{name}.log') as node:
        peer = Peer(name, node.check)
        try:
            peer.wait_until_active()
            starting_s = node.cpu_seconds
            drive = EndlessDrive(peer, laps, chance)
            happenings = make_happenings(peer, drive, chance, outcome.findings)
            while (processed := happenings.totals['processed']) < count or (
                    len(happenings.happened) < len(set(happenings.kinds()))):
                show(processed)
                drive.go(chance.randrange(20, 90))
                happenings.next()
                memory.append((happenings.totals['processed'], node.resident_bytes))
            happenings.account()
            outcome.counts = dict(happenings.totals)
            outcome.cpu_ms = 1e3 * (node.cpu_seconds - starting_s) / outcome.counts['processed']
            node.stop()
            _judge(outcome, peer, happenings, node, check)
        finally:
            peer.close()
    outcome.seconds = time.monotonic() - started
    outcome.sent, outcome.happened = drive.images, dict(happenings.happened)
    _judge_memory(outcome, memory)
    (folder / 'memory.csv').write_text('images,bytes\n' + ''.join(
        f'{images},{resident}\n' for images, resident in memory))
    return outcome


def _judge(outcome: Outcome, peer: Peer, happenings: FaultInjector, node: NodeProcess,
           check: Callable[[Peer, FaultInjector, CheckResults], None]) -> None:
    findings = outcome.findings
    for arrived_s, match in peer.matches:
        check_match(match, arrived_s, peer.sent, findings)
    check(peer, happenings, findings)
    check_log(node.printed, lambda line: any(text in line for text in _PROVOKED), findings)
    outcome.messages = {topic: len(arrived) for topic, arrived in (
        ('place_match', peer.matches), ('pose', peer.poses), ('loop_closure', peer.closures),
        ('rejected_loop_closure', peer.rejected)) if arrived}
    outcome.accepted = sum(match.accepted for _, match in peer.matches)
    findings.expect(outcome.accepted > 0, 'no match was accepted')
    findings.expect(outcome.counts['unusable'] > 0, 'no broken image was noticed')


def _judge_memory(outcome: Outcome, memory: list[tuple[int, int]]) -> None:
    outcome.memory_mib = memory[len(memory) // 2][1] / _MIB, memory[-1][1] / _MIB
    outcome.slope = slope_mib(memory)
    if outcome.slope is not None:
        outcome.findings.expect(
            outcome.slope <= BOUND_MIB, 'memory that grows',
            f'{outcome.slope:.1f} MiB in 10,000 images, at most {BOUND_MIB:g} are allowed')
