"""Which images count: spacing, standing still, and where a sequence breaks."""

import numpy as np
import pytest

from seqnet_ros.config.engine import KeyframeConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.sequences.keyframes import KeyframeGate, Spacing, Verdict

SECOND = 1_000_000_000


class Robot:
    """Drives a gate as mapper and localizer do, at ten images a second."""

    def __init__(self, spacing: str, usual_change: float | None = None,
                 **settings: float) -> None:
        self.gate = KeyframeGate(
            KeyframeConfig(**settings), Spacing.parse(spacing), usual_change)
        self.stamp_ns = 0

    def see(self, x: float | None = None, view: float = 0.0, wait_s: float = 0.1) -> Verdict:
        """Take in one image after a while; ``view`` is the angle of its descriptor."""
        self.stamp_ns += round(wait_s * SECOND)
        pose = None if x is None else make_pose(x, 0.0)
        self.gate.interrupted(self.stamp_ns, pose)
        verdict = self.gate.before_describing(self.stamp_ns, pose)
        descriptor = np.array([np.cos(view), np.sin(view)], dtype=np.float32)
        if verdict is None:
            verdict = self.gate.by_descriptor(descriptor)
        if verdict is Verdict.KEYFRAME:
            self.gate.admit(self.stamp_ns, pose, descriptor)
        return verdict


@pytest.mark.parametrize(('text', 'value', 'unit'), [
    ('1.5m', 1.5, 'm'), ('0.5s', 0.5, 's'), ('3', 3, ''), (' 2 m ', 2, 'm')])
def test_spacing_is_read(text: str, value: float, unit: str) -> None:
    spacing = Spacing.parse(text)
    assert spacing == Spacing(value, unit)
    assert Spacing.parse(str(spacing)) == spacing


@pytest.mark.parametrize('text', ['', 'm', '0m', '0', '-1m', '1.5', '1km', 'auto', 'nan', '1e3m'])
def test_wrong_spacing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match='is invalid'):
        Spacing.parse(text)


@pytest.mark.parametrize('usual_change', [None, 0.1])
def test_metres(usual_change: float | None) -> None:
    robot = Robot('1m', usual_change)
    driven = np.arange(0, 40) / 4
    verdicts = [robot.see(x, view=x) for x in driven]
    keys = driven[[verdict is Verdict.KEYFRAME for verdict in verdicts]]
    assert keys.tolist() == list(range(10))


def test_metres_count_in_space_not_along_x() -> None:
    robot = Robot('5m')
    robot.see(0.0)
    robot.stamp_ns += SECOND
    for point, expected in (((3, 0, 0), False), ((3, 4, 0), True), ((3, 4, 4.9), False)):
        pose = make_pose(*point)
        verdict = robot.gate.before_describing(robot.stamp_ns, pose)
        assert (verdict is Verdict.KEYFRAME) == expected
        if expected:
            robot.gate.admit(robot.stamp_ns, pose, np.ones(2))


def test_seconds() -> None:
    robot = Robot('0.5s')
    keys = [index for index in range(30) if robot.see(view=0.1 * index) is Verdict.KEYFRAME]
    assert keys == [0, 5, 10, 15, 20, 25]


def test_images() -> None:
    robot = Robot('3')
    keys = [index for index in range(10) if robot.see(view=0.1 * index) is Verdict.KEYFRAME]
    assert keys == [0, 3, 6, 9]


def test_standing_robot_with_poses() -> None:
    """A jittering pose, people in front of the camera: still no keyframe."""
    robot = Robot('1m', usual_change=0.1)
    random = np.random.default_rng(0)
    robot.see(0.0)
    verdicts = [robot.see(random.normal(0, 0.02), view=random.uniform(0, 3)) for _ in range(100)]
    assert Verdict.KEYFRAME not in verdicts
    assert verdicts[15:] == [Verdict.STATIONARY] * 85
    assert robot.see(1.01) is Verdict.KEYFRAME


def test_slow_robot_is_not_standing() -> None:
    robot = Robot('1m', usual_change=0.1)
    verdicts = [robot.see(0.02 * step) for step in range(51)]
    assert Verdict.STATIONARY not in verdicts
    assert verdicts[50] is Verdict.KEYFRAME


@pytest.mark.parametrize('spacing', ['1m', '0.1s', '1'])
def test_standing_robot_without_poses(spacing: str) -> None:
    robot = Robot(spacing, usual_change=0.1)
    random = np.random.default_rng(0)
    assert robot.see(view=0.0) is Verdict.KEYFRAME
    verdicts = [robot.see(view=random.uniform(-0.02, 0.02)) for _ in range(50)]
    assert verdicts == [Verdict.STATIONARY] * 50
    assert robot.see(view=0.12) is Verdict.KEYFRAME


def test_smallest_change_can_be_switched_off() -> None:
    robot = Robot('1', usual_change=0.1, min_change=0)
    assert [robot.see() for _ in range(5)] == [Verdict.KEYFRAME] * 5


def test_metres_without_poses_follow_the_view() -> None:
    """The view turns 0.04 per image; the map's usual step was 0.1."""
    robot = Robot('1m', usual_change=0.1)
    verdicts = [robot.see(view=0.04 * step) for step in range(10)]
    keys = [step for step, verdict in enumerate(verdicts) if verdict is Verdict.KEYFRAME]
    assert keys == [0, 3, 6, 9]
    assert Verdict.BETWEEN in verdicts


def test_metres_with_poses_missing_for_a_while() -> None:
    robot = Robot('1m', usual_change=0.1)
    assert robot.see(0.0, view=0.0) is Verdict.KEYFRAME
    assert robot.see(0.5, view=0.5) is Verdict.BETWEEN
    assert robot.see(None, view=0.55) is Verdict.KEYFRAME
    assert robot.see(None, view=0.6) is Verdict.BETWEEN
    # The last keyframe had no pose: the view decides once more, then metres count again.
    assert robot.see(1.5, view=0.67) is Verdict.KEYFRAME
    assert robot.see(2.4, view=2.0) is Verdict.BETWEEN
    assert robot.see(2.5, view=0.65) is Verdict.KEYFRAME


@pytest.mark.parametrize(('first', 'second', 'reason'), [
    ((0.0, 0.0), (5.1, 0.0), 'no image for 5.10 s'),
    ((0.0, 0.0), (-0.5, 0.0), 'time went back by 0.50 s'),
    ((0.0, 0.0), (-0.4, 0.0), None),
    ((0.0, 0.0), (0.1, 20.5), 'the pose jumped by 20.5 m'),
    ((0.0, 0.0), (5.0, 20.0), None),
    ((0.0, 0.0), (0.0, 0.0), None),
    ((0.0, None), (0.1, 500.0), None),
    ((0.0, 0.0), (0.1, None), None),
])
def test_interruptions(first: tuple, second: tuple, reason: str | None) -> None:
    gate = KeyframeGate(KeyframeConfig(), Spacing.parse('1m'), 0.1)
    for (time_s, x), expected in ((first, None), (second, reason)):
        pose = None if x is None else make_pose(x, 0.0)
        assert gate.interrupted(round(time_s * SECOND), pose) == expected


@pytest.mark.parametrize('spacing', ['1m', '0.1s', '1'])
@pytest.mark.parametrize('back_s', [0.02, 0.12, 0.45])
def test_late_images_are_left_out_and_counted(spacing: str, back_s: float, caplog) -> None:
    """Every eighth stamp is too old, as of cameras that read their clock twice."""
    robot = Robot(spacing, usual_change=0.1)
    verdicts = []
    for index in range(40):
        if index % 8 == 7:
            newest = robot.stamp_ns
            assert robot.see(50.0, view=3.0, wait_s=-back_s) is Verdict.BETWEEN
            robot.stamp_ns = newest + SECOND // 10
        else:
            verdicts.append(robot.see(float(index), view=0.2 * index))
    assert verdicts == [Verdict.KEYFRAME] * 35
    assert robot.gate.late == 5
    assert caplog.text.count(f'stamped {back_s:.3f} s before the newest one') == 1


def test_clock_that_was_set_back_costs_few_images() -> None:
    robot = Robot('0.1s', usual_change=0.1)
    for index in range(10):
        assert robot.see(view=0.2 * index) is Verdict.KEYFRAME
    robot.stamp_ns -= SECOND // 4
    verdicts = [robot.see(view=0.2 * index) for index in range(10, 20)]
    # Two images are late; the third is 0.05 s after the last keyframe.
    assert verdicts == [Verdict.BETWEEN] * 3 + [Verdict.KEYFRAME] * 7


def test_a_gap_in_the_poses_is_no_jump() -> None:
    """Odometry that restarts says nothing of how the robot moved meanwhile."""
    gate = KeyframeGate(KeyframeConfig(), Spacing.parse('1m'), 0.1)
    assert gate.interrupted(0, make_pose(0, 0)) is None
    assert gate.interrupted(SECOND, None) is None
    assert gate.interrupted(2 * SECOND, make_pose(30, 0)) is None
    assert gate.interrupted(3 * SECOND, make_pose(60, 0)) == 'the pose jumped by 30.0 m'


def test_after_an_interruption_the_next_image_is_a_keyframe() -> None:
    robot = Robot('1m', usual_change=0.1)
    robot.see(0.0)
    assert robot.see(0.1) is Verdict.BETWEEN
    assert robot.see(0.2, wait_s=6.0) is Verdict.KEYFRAME
    assert robot.see(0.3) is Verdict.BETWEEN
    robot.gate.forget()
    assert robot.see(0.4) is Verdict.KEYFRAME


@pytest.mark.parametrize('step', [0.3, 0.7, 0.8])
def test_mean_spacing_does_not_depend_on_the_step_between_images(step: float) -> None:
    """The share of a step by which a keyframe comes late must not add up over the drive."""
    robot = Robot('1m', max_gap_m=50)
    driven = np.arange(0, 200, step)
    keys = driven[[robot.see(x) is Verdict.KEYFRAME for x in driven]]
    assert np.diff(keys).mean() == pytest.approx(1.0, abs=0.03)
