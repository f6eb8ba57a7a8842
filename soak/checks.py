"""Are the messages of a node consistent with what it was given?"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.nodes.conversions import stamp_to_ns
from soak.check_results import CheckResults
from soak.sent_images import SearchedMaps, SentImages

ELSEWHERE_M = 15.0
"""An accepted place further from where the image was taken is a wrong one."""
_NEAR_M = 5.0
"""A pose lies between the places within the tolerance of the filter."""
_WITHOUT_CANDIDATES = {Reason.BUFFER_FILLING, Reason.STATIONARY, Reason.NO_CANDIDATES}
_ROUNDING = 1e-5
Arrived = Iterable[tuple[float, Any]]
"""Messages with the time of their arrival, seconds on the monotonic clock."""


def check_match(message: Any, arrived_s: float, sent: SentImages,
                findings: CheckResults) -> int | None:
    """Check what every PlaceMatch must fulfil; return the number of its image."""
    expect = findings.expect
    stamp, start = stamp_to_ns(message.header.stamp), stamp_to_ns(message.sequence_start)
    number = sent.find(message.header.frame_id, arrived_s)
    expect(number is not None, 'frame of no image', message.header.frame_id)
    if number is not None:
        expect(sent.may_have(number, stamp), 'stamp of another image', (number, stamp))
        sent.remember(stamp)
    expect(start in sent, 'sequence that starts with no image', start)
    expect(start <= stamp, 'sequence that starts after its end', (start, stamp))
    expect(message.accepted == (message.reason == Reason.ACCEPTED),
           'accepted against the reason', message.reason)
    expect(message.reason in Reason.__members__.values(), 'unknown reason', message.reason)
    expect(bool(message.candidates) != (message.reason in _WITHOUT_CANDIDATES),
           'candidates against the reason', (message.reason, len(message.candidates)))
    _check_order(message, findings)
    values = [value for item in message.candidates
              for value in (item.descriptor_distance, item.sequence_distance, item.score)]
    expect(bool(np.isfinite(values).all()), 'value that is not finite', values)
    return number


def check_sequence(number: int | None, before: int, findings: CheckResults) -> int:
    """Check that a result is of a newer image than the one before; return the newest number."""
    if number is None:
        return before
    findings.expect(number > before, 'result of an image that had one', (number, before))
    return max(number, before)


def is_elsewhere(message: Any, number: int | None, sent: SentImages) -> bool:
    """Return whether a match is accepted of a place far from where its image was taken."""
    if not message.accepted or number is None:
        return False
    position = message.candidates[0].pose.position
    apart_m = float(np.linalg.norm(sent.position(number) - (position.x, position.y)))
    return apart_m > ELSEWHERE_M


def _check_order(message: Any, findings: CheckResults) -> None:
    scores = [item.score for item in message.candidates]
    findings.expect(bool((np.diff(scores) <= _ROUNDING).all()), 'candidates out of order', scores)
    if all(item.descriptor_distance == item.sequence_distance for item in message.candidates):
        return  # of the place filter, whose order is that of the scores alone
    distances = defaultdict(list)
    for item in message.candidates:
        distances[item.map_id].append(item.sequence_distance)
    for values in distances.values():
        findings.expect(bool((np.diff(values) >= -_ROUNDING).all()),
                        'candidates of a map out of order', values)


def check_places(message: Any, arrived_s: float, sent: SentImages, searched: SearchedMaps,
                 maps: Mapping[str, PlaceMap], findings: CheckResults) -> None:
    """Check that the candidates of a localizer are places of the maps it may have searched."""
    number = sent.find(message.header.frame_id, arrived_s)
    allowed = searched.between(arrived_s if number is None else sent.sent_s(number), arrived_s)
    expect = findings.expect
    named = {message.map_id, *(item.map_id for item in message.candidates)}
    expect(named <= allowed, 'map that is not searched', (named, allowed))
    if message.candidates:
        expect(message.map_id == message.candidates[0].map_id, 'map of another candidate')
    for item in message.candidates:
        place_map = maps.get(item.map_id)
        known = place_map is not None and item.place_id < len(place_map)
        expect(known, 'place that no map has', (item.map_id, item.place_id))
        if place_map is None or not known:
            continue
        expect(stamp_to_ns(item.stamp) == place_map.stamps_ns[item.place_id],
               'stamp of another place', item.place_id)
        expect(pose_values(item.pose) == place_map.poses[item.place_id].tolist(),
               'pose of another place', item.place_id)


def pose_values(pose: Any) -> list[float]:
    """Return a pose message as ``[x, y, z, qx, qy, qz, qw]``."""
    position, rotation = pose.position, pose.orientation
    return [position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w]


def check_poses(matches: Arrived, poses: Arrived, findings: CheckResults) -> None:
    """Check that a pose was published for every accepted match, and for no other."""
    accepted = Counter(stamp_to_ns(match.header.stamp)
                       for _, match in matches if match.accepted and match.candidates)
    places = defaultdict(list)  # stamps repeat where a bag loops
    for _, match in matches:
        if match.accepted and match.candidates:
            places[stamp_to_ns(match.header.stamp)].append(pose_values(match.candidates[0].pose))
    published: Counter = Counter()
    for _, pose in poses:
        stamp_ns, values = stamp_to_ns(pose.header.stamp), pose_values(pose.pose.pose)
        published[stamp_ns] += 1
        apart = min((float(np.linalg.norm(np.subtract(values, place)[:3]))
                     for place in places[stamp_ns]), default=0.0)
        findings.expect(bool(apart <= _NEAR_M), 'pose far from the accepted place', apart)
        variances = np.diag(np.reshape(pose.pose.covariance, (6, 6)))
        findings.expect(bool((variances > 0).all()), 'pose without uncertainty', variances)
    findings.expect(not published - accepted, 'pose without an accepted match',
                    published - accepted)
    findings.expect(not accepted - published, 'accepted match without a pose',
                    accepted - published)


@dataclass
class DriveSoFar:
    """What the results of a loop closer have said of its drive.

    Attributes:
        stamps_ns: of its places, by number, as far as they are known.
        newest: number of the newest place.
        map_id: its name.
    """

    stamps_ns: dict[int, int] = field(default_factory=dict)
    newest: int = -1
    map_id: str = ''

    def go_on(self, loop: Any) -> None:
        """Add the place that a loop is from; a drive that restarted knows no other."""
        if loop.to_id <= self.newest or loop.map_id != self.map_id:
            self.stamps_ns.clear()
        self.newest, self.map_id = loop.to_id, loop.map_id
        self.stamps_ns[loop.to_id] = stamp_to_ns(loop.to_stamp)


def check_loops(matches: Arrived, closures: Arrived, rejected: Arrived, sent: SentImages,
                drive: DriveSoFar, findings: CheckResults) -> None:
    """Check that every match of a loop closer is one loop, and speaks of its own past."""
    expect = findings.expect
    accepted, refused = _by_stamp(closures), _by_stamp(rejected)
    for _, match in matches:
        if not match.candidates:
            continue
        stamp = stamp_to_ns(match.header.stamp)
        waiting = (accepted if match.accepted else refused)[stamp]
        expect(bool(waiting), 'match that is no loop', (stamp, match.accepted))
        if not waiting:
            continue
        loop, best = waiting.popleft(), match.candidates[0]
        expect((loop.from_id, loop.from_stamp) == (best.place_id, best.stamp),
               'loop to another place', (loop.from_id, best.place_id))
        expect(stamp_to_ns(loop.to_stamp) == stamp, 'loop of another image')
        expect(loop.reason == match.reason, 'loop for another reason')
        expect(loop.map_id == match.map_id, 'loop of another drive')
        drive.go_on(loop)
        seen = drive.stamps_ns
        for item in match.candidates:
            expect(item.place_id < loop.to_id, 'place of the future', (item.place_id, loop.to_id))
            stamp_of = stamp_to_ns(item.stamp)
            expect(seen.get(item.place_id, stamp_of) == stamp_of and stamp_of in sent,
                   'stamp of another place', item.place_id)
    left = sum(map(len, accepted.values())) + sum(map(len, refused.values()))
    expect(not left, 'loop without a match', left)


def _by_stamp(loops: Arrived) -> 'defaultdict[int, deque[Any]]':
    waiting: defaultdict[int, deque[Any]] = defaultdict(deque)
    for _, loop in loops:
        waiting[stamp_to_ns(loop.header.stamp)].append(loop)
    return waiting


def check_counts(counts: Mapping[str, int], findings: CheckResults) -> None:
    """Check that every image received was processed, dropped or ignored; the node must be idle."""
    rest = counts['received'] - counts['processed'] - counts['ignored']
    findings.expect(counts['dropped'] == rest, 'drops that do not add up', dict(counts))
    findings.expect(counts['failures'] == 0, 'failures', dict(counts))


def check_log(printed: str, allowed: Callable[[str], bool], findings: CheckResults) -> None:
    """Check that the node printed no exception and no error but those that were provoked."""
    findings.expect('Traceback' not in printed, 'exception in the log')
    for line in printed.splitlines():
        if '[ERROR]' in line or '[FATAL]' in line:
            findings.expect(allowed(line), 'error in the log', line)
