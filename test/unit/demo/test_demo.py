"""The demo: its honest parts exactly."""

import numpy as np
import pytest


def test_odometry_drifts_by_about_a_percent_from_an_origin_of_its_own():
    from demo.recording import Scenario, drifting_odometry
    from seqnet_ros.core.poses import travelled_distance

    exact = Scenario(length=200.0, width=160).query_drive.poses
    odometry = drifting_odometry(exact, seed=2)
    assert odometry.shape == exact.shape
    np.testing.assert_allclose(odometry[0], [0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(odometry[:, 3:], axis=1), 1)
    ratio = travelled_distance(odometry) / travelled_distance(exact)
    assert ratio == pytest.approx(1.01, abs=0.003)
    np.testing.assert_array_equal(odometry, drifting_odometry(exact, seed=2))
    assert not np.allclose(odometry, drifting_odometry(exact, seed=3))


def test_the_second_drive_is_another_one():
    from demo.recording import Scenario

    scenario = Scenario(length=120.0, width=160, red_light_s=4.0)
    first, second = scenario.mapping_drive, scenario.query_drive
    assert first.condition.name == 'day'
    assert second.condition.name == 'dusk'
    standing = np.sum(np.linalg.norm(np.diff(second.poses[:, :3], axis=0), axis=1) < 1e-9)
    assert standing == pytest.approx(40, abs=2)
    nearest = np.linalg.norm(
        second.poses[:, None, :2] - first.poses[None, :, :2], axis=2).min(axis=1)
    assert 0.4 < np.median(nearest) < 1.3


@pytest.mark.requires_ros
def test_the_robot_is_not_found_without_right_answers():
    from seqnet_ros.msg import PlaceCandidate, PlaceMatch

    from demo.errors import DemoError
    from demo.playback import Answer
    from demo.report import judge, require_found, summarise
    from seqnet_ros.core.poses import make_pose

    def answers(x: float, accepted: bool) -> list[Answer]:
        found = []
        for stamp in range(10):
            candidate = PlaceCandidate()
            candidate.pose.position.x = x
            message = PlaceMatch(candidates=[candidate], accepted=accepted,
                                 reason=PlaceMatch.ACCEPTED if accepted else PlaceMatch.TOO_FAR)
            found.append(Answer(stamp, message, 0.01))
        return found

    stamps, truth = np.arange(10), np.stack([make_pose(0.0, 0.0)] * 10)
    require_found(judge(answers(4.9, True), stamps, truth))
    with pytest.raises(DemoError, match=r'Recall@1 is 0\.000'):
        require_found(judge(answers(5.1, True), stamps, truth))
    with pytest.raises(DemoError, match='none of 10 searches was accepted'):
        require_found(judge(answers(1.0, False), stamps, truth))
    half = judge(answers(1.0, False)[:8] + answers(9.0, True)[8:], stamps, truth)
    with pytest.raises(DemoError, match='0 % of the accepted are correct'):
        require_found(half)
    with pytest.raises(DemoError, match='0 answers'):
        require_found([])
    shown = summarise(half, images=30)
    assert shown['Recall@1'].startswith('0.800')
    assert shown['latency'].startswith('p50 10 ms, p99 10 ms')
