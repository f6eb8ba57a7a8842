"""The checks of the soak test: each of them can fail."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak.check_results import CheckResults
from soak.sent_images import SearchedMaps, SentImages
from soak.trends import BOUND_MIB, GROWTH_MIB, Sample, grows, hourly_trend, memory_trend, quarters

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
    match.header.frame_id = 'camera/6'
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
    (lambda match: setattr(match.header, 'stamp', stamp(77)), 'stamp of another image'),
    (lambda match: setattr(match.header, 'stamp', stamp(6)), 'stamp of another image'),
    (lambda match: setattr(match.header, 'frame_id', 'camera/9'), 'frame of no image'),
    (lambda match: setattr(match.header, 'frame_id', 'camera'), 'frame of no image'),
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


def test_a_stamp_is_that_of_the_image_or_a_corrected_one() -> None:
    import time

    images = SentImages()
    for stamp_ns in (1000, 1100, 1200, 900, 0, 1300):
        images.note(stamp_ns * 10**6)
    own = [900, 1000, 1100, 1200, 1300, 1400, 2100, 2300]
    assert [ms for ms in own if images.may_have(2, ms * 10**6)] == [1200]
    # Stamps went back: it may get a later one, by less than a second.
    own.insert(-2, 1899)
    assert [ms for ms in own if images.may_have(3, ms * 10**6)] == [
        900, 1000, 1100, 1200, 1300, 1400, 1899]
    assert not images.may_have(4, 1300 * 10**6)
    assert images.may_have(4, time.time_ns())
    assert not images.may_have(4, time.time_ns() + SECOND_NS)


@given(st.lists(st.tuples(st.sampled_from((0, -500, 6000, -30000)), st.integers(5, 80),
                          st.sampled_from((0.0, 0.3, 0.9))), min_size=2, max_size=8),
       st.integers(0, 100))
def test_stamps_corrected_among_lost_images_are_allowed(
        drives: list[tuple[int, int, float]], seed: int) -> None:
    from seqnet_ros.core.stamp_order import StampOrder

    chance, order, images = random.Random(seed), StampOrder('camera'), SentImages()
    clock_ms = 10**6
    for jump_ms, count, lost in drives:
        clock_ms += jump_ms
        for _ in range(count):
            clock_ms += 67
            images.note(clock_ms * 10**6)
            if chance.random() >= lost:
                assert images.may_have(len(images) - 1, order.correct(clock_ms * 10**6))


def test_two_results_of_an_image_are_found() -> None:
    from soak.checks import check_sequence

    findings = CheckResults()
    newest = check_sequence(4, check_sequence(3, -1, findings), findings)
    assert (newest, bool(findings)) == (4, False)
    assert check_sequence(None, newest, findings) == newest
    check_sequence(4, newest, findings)
    assert 'result of an image that had one' in str(findings)


def test_an_accepted_place_elsewhere_is_found() -> None:
    from soak.checks import ELSEWHERE_M, is_elsewhere

    images = SentImages()
    for x_m in (0.0, 2 * ELSEWHERE_M):
        images.note(SECOND_NS, np.array([x_m, 0.0]))
    images.note(SECOND_NS)
    match = match_of()
    assert [is_elsewhere(match, number, images) for number in (0, 1, 2, None)] == [
        False, True, False, False]
    match.accepted = False
    assert not is_elsewhere(match, 1, images)


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

    from soak.checks import DriveSoFar, check_loops

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
    check_loops([(0.0, match)], [(0.0, loop)], [], images, DriveSoFar(), findings)
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


def samples(bytes_an_image: float = 0.0, handles_an_image: float = 0.0,
            noise_bytes: float = 3e5) -> list[Sample]:
    """Return what a node that warms up within some hundred images would need."""
    noise = random.Random(0)
    return [Sample(count / 50, count, round(8e8 - 1e8 * np.exp(-count / 500)
                                            + bytes_an_image * count
                                            + noise.gauss(0, noise_bytes)),
                   20 + noise.randrange(2) + round(handles_an_image * count), 17)
            for count in range(0, 10_001, 60)]


def test_memory_that_grows_with_the_images_is_found() -> None:
    flat, growing = memory_trend(samples()), memory_trend(samples(2000))
    assert flat is not None
    assert growing is not None
    assert abs(flat.slope) < 1
    assert flat.low < 0 < flat.high
    assert not grows(flat, GROWTH_MIB)
    assert growing.slope == pytest.approx(2000 * 10_000 / 2**20, abs=1)
    assert growing.low < growing.slope < growing.high
    assert growing.slope > BOUND_MIB
    assert growing.span == pytest.approx(0.6, abs=0.05)
    assert grows(growing, 10.0)
    assert not grows(growing, GROWTH_MIB)  # 11 MiB in all
    assert memory_trend(samples(2000)[:40]) is None


def test_the_interval_holds_the_slope() -> None:
    """The interval widens with the noise and still holds the true slope."""
    precise, noisy = memory_trend(samples(500)), memory_trend(samples(500, noise_bytes=2e6))
    assert precise is not None
    assert noisy is not None
    true = 500 * 10_000 / 2**20
    assert precise.low < true < precise.high
    assert noisy.low < true < noisy.high
    assert noisy.high - noisy.low > 2 * (precise.high - precise.low)


def test_handles_that_grow_in_number_are_found() -> None:
    for handles_an_image, grown in ((0.0, False), (0.001, True)):
        found = hourly_trend(samples(handles_an_image=handles_an_image), 'handles')
        assert found is not None
        assert grows(found, 1.0) == grown
    threads = hourly_trend(samples(), 'threads')
    assert threads is not None
    assert (threads.slope, threads.low, threads.high) == (0, 0, 0)


def test_latency_by_quarter() -> None:
    times_s = np.linspace(0.0, 100.0, 400)
    assert quarters(times_s, np.where(times_s < 75, 0.02, 0.05), 99) == pytest.approx(
        [0.02, 0.02, 0.02, 0.05])
