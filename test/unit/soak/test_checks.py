"""The checks of the soak test: each of them can fail."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from soak.check_results import CheckResults
from soak.memory import BOUND_MIB, slope_mib
from soak.sent_images import SearchedMaps, SentImages

pytestmark = pytest.mark.requires_ros
SECOND_NS = 10**9


@pytest.fixture
def sent() -> SentImages:
    images = SentImages()
    for second in range(1, 10):
        images.note(second * SECOND_NS)
    return images


def match_of(**values: Any) -> Any:
    """Return an accepted match of two candidates that nothing is wrong with."""
    from seqnet_ros.msg import PlaceCandidate, PlaceMatch

    from seqnet_ros.nodes.conversions import stamp_from_ns

    match = PlaceMatch(
        sequence_start=stamp_from_ns(3 * SECOND_NS), map_id='a', accepted=True,
        reason=PlaceMatch.ACCEPTED, candidates=[
            PlaceCandidate(map_id='a', place_id=number, stamp=stamp_from_ns(SECOND_NS + number),
                           sequence_distance=0.1 + number, score=0.9 - number / 2)
            for number in range(2)])
    match.header.stamp = stamp_from_ns(7 * SECOND_NS)
    for key, value in values.items():
        setattr(match, key, value)
    return match


def stamp(seconds: int) -> Any:
    from seqnet_ros.nodes.conversions import stamp_from_ns

    return stamp_from_ns(seconds * SECOND_NS)


def findings_of(match: Any, sent: SentImages) -> str:
    from soak.checks import check_match

    findings = CheckResults()
    check_match(match, float('inf'), sent, findings)
    assert bool(findings) == bool(str(findings))
    return str(findings)


def test_a_good_match_passes(sent: SentImages) -> None:
    assert not findings_of(match_of(), sent)


@pytest.mark.parametrize(('change', 'found'), [
    (lambda match: setattr(match.header, 'stamp', stamp(77)), 'stamp of no image'),
    (lambda match: setattr(match, 'sequence_start', stamp(8)), 'starts after its end'),
    (lambda match: setattr(match, 'sequence_start', stamp(80)), 'starts with no image'),
    (lambda match: setattr(match, 'accepted', False), 'accepted against the reason'),
    (lambda match: setattr(match, 'reason', 3), 'accepted against the reason'),
    (lambda match: setattr(match, 'reason', 77), 'unknown reason'),
    (lambda match: match.candidates.clear(), 'candidates against the reason'),
    (lambda match: match.candidates.reverse(), 'out of order'),
    (lambda match: setattr(match.candidates[0], 'sequence_distance', float('nan')), 'not finite'),
])
def test_a_wrong_match_is_found(change: Callable[[Any], None], found: str,
                                sent: SentImages) -> None:
    match = match_of()
    match.candidates = list(match.candidates)
    change(match)
    assert found in findings_of(match, sent)


@pytest.fixture
def maps() -> dict[str, Any]:
    class Places:
        stamps_ns = SECOND_NS + np.arange(2)
        poses = np.tile([0.0, 0, 0, 0, 0, 0, 1], (2, 1))

        def __len__(self) -> int:
            return 2

    return {'a': Places()}


@pytest.mark.parametrize(('field', 'value', 'found'), [
    ('map_id', 'b', 'map that is not searched'),
    ('place_id', 2, 'place that no map has'),
    ('place_id', 1, 'stamp of another place'),
    ('stamp', None, 'stamp of another place'),
    ('pose', None, 'pose of another place'),
])
def test_a_candidate_that_is_no_place_is_found(
        field: str, value: Any, found: str, sent: SentImages, maps: dict[str, Any]) -> None:
    from geometry_msgs.msg import Point, Pose

    from soak.checks import check_places

    value = {'stamp': stamp(5), 'pose': Pose(position=Point(x=1.0))}.get(field, value)
    for wrong in (False, True):
        match, findings = match_of(), CheckResults()
        if wrong:
            setattr(match.candidates[0], field, value)
        check_places(match, float('inf'), sent, SearchedMaps({'a'}), maps, findings)
        assert (found in str(findings)) == wrong
        assert wrong or not findings


def test_a_map_may_be_searched_while_it_is_loaded_and_no_longer() -> None:
    import time

    searched = SearchedMaps({'a'})
    start = time.monotonic()
    searched.may_become({'b'})
    asked = time.monotonic()
    searched.became({'b'})
    done = time.monotonic()
    assert searched.between(start - 1, start - 0.5) == {'a'}
    assert searched.between(asked, asked) == {'a', 'b'}
    assert searched.between(start - 1, done) == {'a', 'b'}
    assert searched.between(done, done + 1) == {'b'}


def test_a_pose_too_many_or_too_few_is_found() -> None:
    from geometry_msgs.msg import PoseWithCovarianceStamped

    from soak.checks import check_poses

    match = match_of()
    pose = PoseWithCovarianceStamped(header=match.header)
    pose.pose.pose = match.candidates[0].pose
    pose.pose.covariance = np.eye(6).ravel().tolist()
    certain = copy.deepcopy(pose)
    certain.pose.covariance = [0.0] * 36
    for poses, found in (([pose], ''), ([], 'accepted match without a pose'),
                         ([pose, pose], 'pose without an accepted match'),
                         ([certain], 'pose without uncertainty')):
        findings = CheckResults()
        check_poses([(0.0, match)], [(0.0, item) for item in poses], findings)
        assert found in str(findings)
        assert bool(findings) == bool(found)


@pytest.mark.parametrize(('change', 'found'), [
    (lambda loop, match: None, ''),
    (lambda loop, match: setattr(loop, 'from_id', 1), 'loop to another place'),
    (lambda loop, match: setattr(loop, 'to_stamp', stamp(5)), 'loop of another image'),
    (lambda loop, match: setattr(loop, 'reason', 3), 'loop for another reason'),
    (lambda loop, match: setattr(loop, 'to_id', 0), 'place of the future'),
    (lambda loop, match: setattr(match.header, 'stamp', stamp(6)), 'match that is no loop'),
    (lambda loop, match: setattr(match, 'accepted', False), 'match that is no loop'),
    (lambda loop, match: setattr(match, 'candidates', []), 'loop without a match'),
])
def test_a_wrong_loop_is_found(change: Callable[[Any, Any], None], found: str) -> None:
    from seqnet_ros.msg import LoopClosure

    from soak.checks import check_loops

    match = match_of()
    for item, second in zip(match.candidates, (1, 2), strict=True):
        item.stamp = stamp(second)
    images = SentImages()
    for second in range(1, 10):
        images.note(second * SECOND_NS)
    loop = LoopClosure(
        header=copy.deepcopy(match.header), map_id='a', to_id=9, to_stamp=stamp(7),
        from_stamp=match.candidates[0].stamp, reason=match.reason)
    change(loop, match)
    findings = CheckResults()
    check_loops([(0.0, match)], [(0.0, loop)], [], images, findings)
    assert found in str(findings)
    assert bool(findings) == bool(found)


def test_drops_that_do_not_add_up_and_failures_are_found() -> None:
    from soak.checks import check_counts

    good = {'received': 10, 'processed': 6, 'ignored': 1, 'dropped': 3, 'failures': 0}
    for change, found in (({}, ''), ({'dropped': 2}, 'do not add up'), ({'failures': 1}, 'fail')):
        findings = CheckResults()
        check_counts({**good, **change}, findings)
        assert found in str(findings)
        assert bool(findings) == bool(found)


def test_an_exception_in_the_log_is_found() -> None:
    from soak.checks import check_log

    for text, found in (('[INFO] all is well\n[ERROR] provoked', ''),
                        ('Traceback (most recent call last):', 'exception'),
                        ('[ERROR] something else', 'error in the log')):
        findings = CheckResults()
        check_log(text, lambda line: 'provoked' in line, findings)
        assert found in str(findings)
        assert bool(findings) == bool(found)


def test_memory_that_grows_with_the_images_is_found() -> None:
    noise = random.Random(0)

    def samples(bytes_an_image: float) -> list[tuple[int, int]]:
        """Return what a node that warms up within some hundred images would need."""
        return [(count, round(8e8 - 1e8 * np.exp(-count / 500) + bytes_an_image * count
                              + noise.gauss(0, 3e5))) for count in range(0, 10_001, 60)]

    assert abs(slope_mib(samples(0))) < 1
    assert slope_mib(samples(2000)) == pytest.approx(2000 * 10_000 / 2**20, abs=1)
    assert slope_mib(samples(2000)) > BOUND_MIB
    assert slope_mib(samples(2000)[:40]) is None
