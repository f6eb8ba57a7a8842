"""The parts of the nodes that need no middleware: odometry, worker, covariance."""

import threading
import time
from typing import Any, NamedTuple

import numpy as np
import pytest

from seqnet_ros.core.poses import make_pose

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros

SECOND = 10**9


# Odometry.


def odometry(*stamped: tuple[float, float]):
    """A buffer of (seconds, x)."""
    from seqnet_ros.nodes.inputs.odometry_input import make_odometry_buffer

    buffer = make_odometry_buffer()
    for seconds, x in stamped:
        buffer.add(int(seconds * SECOND), make_pose(x, 0.0))
    return buffer


@pytest.mark.parametrize(('seconds', 'x'), [
    (10.0, 0.0), (10.05, 0.5), (10.1, 1.0), (10.3, 3.0)])
def test_odometry_is_interpolated_and_carried_on_a_little(seconds, x):
    buffer = odometry((10.0, 0.0), (10.1, 1.0))
    assert buffer.at(int(seconds * SECOND), patience_s=0.0)[0] == pytest.approx(x)


@pytest.mark.parametrize('seconds', [9.9, 11.0, 10.61])
def test_odometry_says_nothing_far_from_what_it_knows(seconds):
    buffer = odometry((10.0, 0.0), (10.1, 1.0))
    assert buffer.at(int(seconds * SECOND), patience_s=0.0) is None


def test_odometry_is_not_interpolated_across_a_hole():
    assert odometry((10.0, 0.0), (12.0, 9.0)).at(11 * SECOND) is None


def test_an_image_waits_for_its_odometry():
    buffer = odometry((10.0, 0.0), (10.1, 1.0))
    late = threading.Timer(0.05, buffer.add, (int(10.2 * SECOND), make_pose(5.0, 0.0)))
    late.start()
    assert buffer.at(int(10.2 * SECOND), patience_s=5.0)[0] == 5.0
    late.join()


def test_an_image_does_not_wait_without_odometry():
    started = time.monotonic()
    assert odometry().at(SECOND, patience_s=5.0) is None
    assert odometry((1.0, 0.0)).at(100 * SECOND, patience_s=5.0) is None
    assert time.monotonic() - started < 1.0


def test_odometry_that_starts_anew_forgets_the_old():
    buffer = odometry((10.0, 0.0), (10.1, 1.0), (3.0, 7.0))
    assert buffer.restarts == 1
    assert len(buffer) == 1
    assert buffer.at(10 * SECOND, patience_s=0.0) is None
    assert buffer.at(3 * SECOND)[0] == 7.0


def test_odometry_a_little_out_of_order_is_no_restart():
    buffer = odometry((10.0, 0.0), (10.1, 1.0), (10.08, 7.0), (10.2, 2.0))
    assert buffer.restarts == 0
    assert buffer.at(int(10.05 * SECOND))[0] == pytest.approx(0.5)
    assert buffer.at(int(10.15 * SECOND))[0] == pytest.approx(1.5)


def test_late_image_of_one_camera_does_not_restart_the_others():
    from seqnet_ros.nodes.inputs.camera_sync import CameraSync

    sync = CameraSync(2, SECOND // 100)
    assert sync.add(0, Stamp(10 * SECOND)) is None
    assert sync.add(0, Stamp(10 * SECOND - SECOND // 50)) is None
    assert sync.incomplete == 1
    assert sync.add(1, Stamp(10 * SECOND)) == (Stamp(10 * SECOND), Stamp(10 * SECOND))
    assert sync.add(0, Stamp(11 * SECOND)) is None
    assert sync.add(0, Stamp(SECOND)) is None
    assert sync.add(1, Stamp(SECOND)) == (Stamp(SECOND), Stamp(SECOND))


class Stamp(NamedTuple):
    """What has a time only."""

    stamp_ns: int


def test_repeated_odometry_counts_once():
    assert len(odometry((10.0, 0.0), (10.0, 1.0))) == 1


# Log.


class Lines:
    """Takes the place of a node's logger."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)

    info = error = warning


def test_one_line_for_each_cause_and_interval():
    from seqnet_ros.nodes.error_log import INTERVAL_S, IntervalLog

    now_s, logger = 0.0, Lines()
    log = IntervalLog(logger, lambda: now_s)
    for _ in range(60):
        log.warning('publishers', 'two publishers')
        now_s += 0.05
    log.info('other', 'another cause')
    now_s += INTERVAL_S
    log.warning('publishers', 'two publishers')
    assert logger.lines == ['two publishers', 'another cause',
                            'two publishers (59 similar lines left out)']


def test_lines_of_the_package_are_forwarded_once_in_an_interval():
    import logging

    from seqnet_ros.nodes.ros_logging import _ToRos

    logger, handler = Lines(), None
    package = logging.getLogger('seqnet_ros.test_of_lines')
    handler = _ToRos(logger)
    package.addHandler(handler)
    package.propagate = False
    try:
        for step in range(60):
            package.warning('sequence cleared: time went back by %d s', step)
        package.warning('another line of code')
    finally:
        package.removeHandler(handler)
    assert logger.lines == ['sequence cleared: time went back by 0 s', 'another line of code']


# Worker.


@pytest.fixture
def worker():
    from seqnet_ros.nodes.worker import Worker

    seen: list[int] = []
    errors: list[Exception] = []

    def process(item: int) -> None:
        seen.append(1 // item)

    worker = Worker(process, errors.append, 'test worker')
    worker.seen, worker.errors = seen, errors
    worker.start()
    yield worker
    worker.stop()


def test_the_worker_goes_on_after_an_error(worker):
    worker.offer(0)
    while not worker.errors:
        time.sleep(0.001)
    worker.offer(1)
    while not worker.seen:
        time.sleep(0.001)
    assert isinstance(worker.errors[0], ZeroDivisionError)


def test_the_worker_takes_the_newest_and_jobs_first(worker):
    release, order = threading.Event(), []
    worker.submit(release.wait)
    assert [worker.offer(item) for item in (5, 6, 1)] == [0, 1, 1]
    job = worker.submit(lambda: order.append(len(worker.seen)))
    release.set()
    job.result(5)
    worker.call(lambda: None)
    while not worker.seen:
        time.sleep(0.001)
    assert order == [0]
    assert worker.seen == [1]


def test_a_job_returns_or_raises(worker):
    assert worker.call(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 // 0)


def test_draining_forgets_the_waiting_item(worker):
    release = threading.Event()
    worker.submit(release.wait)
    worker.offer(1)
    threading.Timer(0.05, release.set).start()
    worker.drain()
    assert worker.seen == []


def test_items_wait_within_the_capacity_and_are_thinned_out_beyond(worker):
    release = threading.Event()
    worker.capacity = 40
    worker.submit(release.wait)
    assert [worker.offer(item, size=10) for item in (1, 2, 3, 4)] == [0, 0, 0, 0]
    assert (worker.waiting, worker.waiting_size) == (4, 40)
    assert worker.offer(5, size=10) == 2
    assert worker.offer(6, size=100) == 3  # the newest stays, whatever its size
    assert (worker.waiting, worker.waiting_size) == (1, 100)
    assert [worker.offer(-1, size=1), worker.offer(1, size=1)] == [1, 0]
    release.set()
    assert worker.drain(patience_s=60.0) == 0
    assert worker.seen == [-1, 1]


def test_a_job_can_wait_for_the_items_before_it(worker):
    release, seen = threading.Event(), []
    worker.capacity = 100
    worker.submit(release.wait)
    worker.offer(1, size=1)
    after = worker.submit(lambda: seen.extend(worker.seen), after_waiting=True)
    worker.offer(2, size=1)
    release.set()
    after.result(60.0)
    assert seen == [1]


def test_draining_drops_items_but_runs_the_jobs_between_them(worker):
    release = threading.Event()
    worker.capacity = 100
    worker.submit(release.wait)
    worker.offer(1, size=1)
    job = worker.submit(lambda: 5, after_waiting=True)
    threading.Timer(0.1, release.set).start()
    assert worker.drain() == 1
    assert job.result(60.0) == 5
    assert worker.seen == []


def test_a_stopped_worker_cancels_what_waits(worker):
    release = threading.Event()
    worker.submit(release.wait)
    waiting = worker.submit(lambda: None)
    threading.Timer(0.05, release.set).start()
    worker.stop()
    assert waiting.cancelled()
    assert worker.submit(lambda: None).cancelled()


# Covariance.


class Places:
    """As much of a map as the covariance looks at."""

    def __init__(self, poses: list[np.ndarray], starts: list[int] | None = None) -> None:
        self.poses = np.stack(poses)
        self.segment_starts = np.array(starts or [0] * len(poses))

    def __len__(self) -> int:
        return len(self.poses)


def candidates(places: Places, *scored: tuple[int, float]):
    from seqnet_ros.localization.result import Candidate

    return tuple(Candidate(place, 0, places.poses[place], 0.1, 0.1, score)
                 for place, score in scored)


def covariance(places: Places, *scored: tuple[int, float], **options: bool) -> np.ndarray:
    from seqnet_ros.nodes.outputs.covariance import pose_covariance

    return pose_covariance(places, candidates(places, *scored), **options)


def line(spacing: float, count: int = 30) -> Places:
    return Places([make_pose(spacing * number, 0.0) for number in range(count)])


def test_covariance_follows_the_formula():
    values = covariance(line(2.0), (5, 1.0), (8, 0.5))
    assert values == pytest.approx(np.diag(np.diag(values)))
    assert values[0, 0] == pytest.approx(0.01 + 4.0 + 0.5 * 36.0 / 1.5)
    assert values[5, 5] == pytest.approx(np.deg2rad(5) ** 2)


def test_far_candidates_do_not_count():
    places = line(1.0)
    assert covariance(places, (5, 1.0), (25, 1.0)) == pytest.approx(covariance(places, (5, 1.0)))


def test_a_turn_makes_the_heading_less_sure():
    places = Places([make_pose(0, 0, yaw=0.0), make_pose(1, 0, yaw=0.5), make_pose(2, 1, yaw=1.0)])
    assert covariance(places, (1, 1.0))[5, 5] == pytest.approx(np.deg2rad(5) ** 2 + 0.25)
    assert covariance(places, (1, 1.0), any_heading=True)[5, 5] == pytest.approx(np.pi**2)


@pytest.mark.parametrize('score', [1.0, 0.0])
def test_covariance_is_never_zero(score):
    alone = Places([make_pose(3.0, 4.0)])
    assert np.diag(covariance(alone, (0, score))) == pytest.approx(
        [0.01] * 3 + [np.deg2rad(5) ** 2] * 3)


def test_the_next_stretch_is_no_neighbour():
    places = Places([make_pose(0, 0), make_pose(500, 0)], starts=[0, 1])
    assert covariance(places, (0, 1.0))[0, 0] == pytest.approx(0.01)


def matched(places: Places, **fields: Any):
    from seqnet_ros.localization.result import MatchResult, Reason

    return MatchResult(0, 0, 0, candidates(places, (5, 1.0)), Reason.ACCEPTED, **fields)


def test_the_pose_of_the_filter_comes_before_that_of_the_place():
    from seqnet_ros.nodes.outputs.covariance import robot_pose

    places = line(2.0)
    pose, values = robot_pose(matched(places), places)
    assert pose is not places.poses[6]
    assert pose == pytest.approx(places.poses[5])
    assert values == pytest.approx(covariance(places, (5, 1.0)))
    estimated = make_pose(10.7, 0.0, yaw=0.1)
    spread = np.diag([0.4, 0.0, 0.0])
    pose, values = robot_pose(
        matched(places, pose=estimated, position_covariance=spread), places, any_heading=True)
    assert pose == pytest.approx(estimated)
    assert np.diag(values) == pytest.approx(
        [0.41, 0.01, 0.01, np.deg2rad(5) ** 2, np.deg2rad(5) ** 2, np.pi**2])


def test_a_metric_pose_comes_first():
    from dataclasses import replace

    from seqnet_ros.nodes.outputs.covariance import robot_pose

    places = line(2.0)
    measured = matched(places, pose=make_pose(10.7, 0.0), position_covariance=np.eye(3))
    best = replace(measured.candidates[0], relative_pose=make_pose(0.3, -0.2),
                   relative_covariance=1e-3 * np.eye(6), relative_is_metric=True)
    pose, values = robot_pose(replace(measured, candidates=(best,)), places)
    assert pose == pytest.approx(make_pose(10.3, -0.2))
    assert values == pytest.approx(1e-3 * np.eye(6))


def test_a_carried_pose_is_less_sure_the_farther_it_goes():
    from seqnet_ros.nodes.outputs.covariance import carried_covariance

    start = np.diag([0.1, 0.1, 0.1, 0.01, 0.01, 0.02])
    assert carried_covariance(start, 0.0, 0.0, 0.05) == pytest.approx(start)
    values = carried_covariance(start, 20.0, 10.0, 0.05)
    assert np.diag(values)[:3] == pytest.approx([0.1 + 1.0 + 0.02 * 100] * 3)
    assert np.diag(values)[3:] == pytest.approx(np.array([0.01, 0.01, 0.02]) + 0.0025 * 2)


# The belief.


def test_only_places_that_are_probable_are_shown():
    from visualization_msgs.msg import Marker

    from seqnet_ros.nodes.outputs.markers import belief_markers

    belief = np.array([0.2, 0.0, 0.001, 0.4, 1e-9, 1e-9])
    positions = np.arange(18.0).reshape(6, 3)
    first, second = belief_markers(belief, [positions[:4], positions[4:]], 'map', 0)
    assert (first.id, first.type, first.action) == (0, Marker.POINTS, Marker.ADD)
    assert [[p.x, p.y, p.z] for p in first.points] == positions[[3, 0]].tolist()
    assert [color.a for color in first.colors] == [1.0, 0.5]
    assert (second.id, second.action) == (1, Marker.DELETE)
    assert belief_markers(None, [positions], 'map', 0) == []
    assert belief_markers(np.zeros(6), [positions], 'map', 0)[0].action == Marker.DELETE


def test_of_many_places_the_most_probable_are_shown():
    from seqnet_ros.nodes.outputs.markers import MOST_PROBABLE, belief_markers

    count = 3 * MOST_PROBABLE
    belief = np.linspace(0.5, 1.0, count)
    positions = np.repeat(np.arange(float(count))[:, None], 3, axis=1)
    marker, = belief_markers(belief / belief.sum(), [positions], 'map', 0)
    assert len(marker.points) == MOST_PROBABLE
    assert min(point.x for point in marker.points) == count - MOST_PROBABLE
    even, = belief_markers(np.full(count, 1 / count), [positions], 'map', 0)
    assert len(even.points) == MOST_PROBABLE


# Conversions.


@pytest.mark.parametrize('stamp_ns', [0, 1, 10**9 - 1, 1_700_000_000_123_456_789])
def test_stamps_are_exact(stamp_ns):
    from seqnet_ros.nodes.conversions import stamp_from_ns, stamp_to_ns

    assert stamp_to_ns(stamp_from_ns(np.int64(stamp_ns))) == stamp_ns
