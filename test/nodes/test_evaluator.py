"""The evaluator over real middleware, beside a real localizer in a rendered town."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import (
    PATIENCE_S,
    Peer,
    Shown,
    deliver,
    eventually,
    listeners,
    localizing,
    render,
    settle,
    spinning,
    wait_for_odometry,
    with_keyframes,
)
from sequence_search import METHODS

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.datasets.recordings.bag_writer import BagWriter
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.evaluate_recordings import EvaluationRequest, evaluate_recordings
from seqnet_ros.evaluation.replay.recordings import RecordingOptions
from seqnet_ros.localization.result import Candidate, MatchResult, Reason
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.models.place_model import load_model

pytestmark = pytest.mark.requires_ros

EVERY = '1.5m'
LENIENT = {'agreement': 1, 'false_positive_rate': 0.3}
"""Wrong places are accepted, too, so that every measure has something to measure."""
CANDIDATES = 20
TOLERANCE = {'tolerance_m': 2.0, 'tolerance_deg': 30.0}
QUICK = {'period_s': 0.05, 'diagnostics_period_s': 0.1}


@pytest.fixture(scope='module')
def long_drive() -> list[Shown]:
    """A drive that goes on for 15 m beyond the end of the map."""
    return render(seed=2, count=65, lateral_offset=0.3)


@contextmanager
def evaluating(town_map: Path | str, **parameters: Any) -> Iterator[tuple[Any, Peer, list[Any]]]:
    """Run an evaluator of the localizer, a peer, and what the evaluator publishes."""
    from seqnet_ros.msg import Evaluation

    from seqnet_ros.nodes.evaluator_node import EvaluatorNode

    make = partial(EvaluatorNode, use_global_arguments=False, cli_args=[
        '--ros-args', '-r', 'place_match:=localizer/place_match'])
    values = {**TOLERANCE, **QUICK, **parameters}
    with spinning(make, 'localizer', map=str(town_map), **values) as (node, peer):
        published = peer.listen(Evaluation, 'evaluator/evaluation')
        yield node, peer, published


class Truth:
    """Who tells the true poses."""

    def __init__(self, peer: Peer, kind: str = 'odometry') -> None:
        from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
        from nav_msgs.msg import Odometry

        self.kind = {'odometry': Odometry, 'pose': PoseStamped,
                     'pose_with_covariance': PoseWithCovarianceStamped}[kind]
        self.nested = kind != 'pose'
        self.publisher = peer.node.create_publisher(self.kind, 'truth', 1000)
        eventually(self.publisher.get_subscription_count, 'a subscription to the truth')

    def tell(self, stamp_ns: int, pose: np.ndarray) -> None:
        from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns

        message = self.kind()
        message.header.stamp = stamp_from_ns(stamp_ns)
        if self.nested:
            message.pose.pose = pose_to_message(pose)
        else:
            message.pose = pose_to_message(pose)
        self.publisher.publish(message)


def match(town_map: Path, stamp_ns: int, *places: int, map_id: str | None = None) -> Any:
    """Make what the localizer publishes."""
    from seqnet_ros.msg import PlaceCandidate, PlaceMatch

    from seqnet_ros.nodes.conversions import stamp_from_ns

    name = open_map(town_map).manifest.map_id if map_id is None else map_id
    candidates = [PlaceCandidate(map_id=name, place_id=place, sequence_distance=0.5, score=0.75)
                  for place in places]
    for candidate in candidates:
        candidate.pose.orientation.w = 1.0
    message = PlaceMatch(map_id=name, candidates=candidates, accepted=bool(places),
                         reason=PlaceMatch.ACCEPTED if places else PlaceMatch.BUFFER_FILLING)
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = 'camera'
    return message


@contextmanager
def saying(peer: Peer) -> Iterator[Any]:
    """Publish matches as the localizer does."""
    from seqnet_ros.msg import PlaceMatch

    publisher = peer.node.create_publisher(PlaceMatch, 'localizer/place_match', 100)
    eventually(publisher.get_subscription_count, 'a subscription to the matches')
    yield publisher


def replayed(town_map: Path, drive: list[Shown], folder: Path, method: str) -> dict[str, Any]:
    """Return the measures of a replay of the drive, recorded in a bag."""
    with BagWriter(folder / 'bag') as bag:
        for stamp_ns, image, pose in drive:
            bag.write_odometry('/odom', stamp_ns, pose)
            bag.write_image('/camera', stamp_ns, image)
    settings = {
        'localization.method': method, 'sequence.length': 5, 'keyframes.every': EVERY,
        'matching.candidates': CANDIDATES,
        **{f'acceptance.{name}': value for name, value in LENIENT.items()}}
    evaluated = evaluate_recordings(EvaluationRequest(
        RecordingOptions((folder / 'bag',)), Tolerance(2.0, degrees=30.0), map_path=town_map,
        device='cpu', settings=settings), folder / 'run')
    return evaluated.results.measures.as_json()


def fields_of(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return what a message must hold of measures, None where that is NaN."""
    accepted, route, first = (numbers[name] for name in ('accepted', 'route', 'first_fix'))
    curve, outcomes = numbers['precision_recall'], numbers['outcomes']
    return {
        'results': numbers['results'], **numbers['queries'],
        'hits': outcomes['hit'], **{name: outcomes[name] for name in (
            'wrong', 'missed', 'lost', 'elsewhere', 'unknown')},
        'not_searched': outcomes['waiting'], 'accepted': accepted['results'],
        'precision': accepted['precision'], 'recall': accepted['recall'],
        'error_median': accepted['error']['median'], 'error_p90': accepted['error']['p90'],
        'error_worst': accepted['error']['worst'],
        **{f'pose_error_{name}': accepted.get('pose_error', {}).get(name)
           for name in ('median', 'p90', 'worst')},
        **{f'recall_at_{n}': value for n, value in numbers['recall'].items()},
        **{f'recall_by_distance_at_{n}': value
           for n, value in numbers['recall_by_distance'].items()},
        'precision_recall_area': curve['area'], 'best_f1': curve['best_f1'],
        'recall_at_precision_100': curve['recall_at_precision_100'],
        'recall_at_precision_99': curve['recall_at_precision_99'],
        'travelled': route['travelled'], 'travelled_with_truth': route['with_truth'],
        'travelled_in_map': route['in_map'], 'localized_share': route['localized'],
        'longest_without': route['longest_without'], 'first_fix_seconds': first['seconds'],
        'first_fix_distance': first['distance'], 'first_fix': 1 if first['right'] else 2,
        'calibration_error': numbers['calibration']['expected_error'],
        'not_in_map_searched': numbers['not_in_map']['searched'],
        'not_in_map_accepted': numbers['not_in_map']['accepted'],
        'not_in_map_rate': numbers['not_in_map']['rate']}


@pytest.mark.parametrize('method', METHODS)
def test_the_numbers_are_those_of_a_replay(method, town_map, long_drive, tmp_path):
    """Localizer, truth and evaluator over the middleware; `evaluate bags` on the same drive."""
    from seqnet_ros.srv import SaveEvaluation

    expected = replayed(town_map, long_drive, tmp_path, method)
    assert expected['accepted']['right'] > 5
    assert expected['not_in_map']['searched'] > 3
    parameters = {'localization.method': method, 'keyframes.every': EVERY,
                  'matching.candidates': CANDIDATES, 'sequence.length': 5,
                  **{f'acceptance.{name}': value for name, value in LENIENT.items()}}
    with (localizing(map=str(town_map), **parameters) as (node, peer),
          evaluating(town_map) as (evaluator, other, published)):
        eventually(peer.odometry.get_subscription_count, 'discovery of odometry')
        eventually(lambda: listeners(node, '~/place_match') == 3, 'discovery of matches')
        truth = Truth(other)
        for stamp_ns, image, pose in long_drive:
            truth.tell(stamp_ns, pose)
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
            # Queues hold ten messages: nobody may fall behind.
            eventually(lambda: evaluator.matches.received >= len(peer.matches), 'matches')
        settle(node)
        assert node.pipeline.statistics.dropped == 0
        eventually(lambda: len(evaluator.evaluation) == expected['results'], 'a judgement of all')
        eventually(lambda: published and published[-1].results == expected['results'],
                   'the evaluation of all')
        saved = other.call(SaveEvaluation, 'evaluator/save', path=str(tmp_path / 'live.json'))
        assert saved.result == SaveEvaluation.Response.RESULT_SUCCESS, saved.message
        assert evaluator.truth.received == len(long_drive)
    live = json.loads((tmp_path / 'live.json').read_text())['measures']
    # Messages carry scores as float32.
    assert live.pop('calibration') == {
        name: pytest.approx(value, abs=2e-6) for name, value in expected['calibration'].items()}
    assert live == {name: value for name, value in expected.items() if name != 'calibration'}

    message = published[-1]
    for name, value in fields_of(expected).items():
        shown = getattr(message, name)
        if value is None:
            assert math.isnan(shown), name
        else:
            assert shown == pytest.approx(value, abs=2e-6), name
    assert message.accepted_share == pytest.approx(message.accepted / message.searched)
    assert (message.most_candidates > 5, message.waiting_for_truth, message.unusable) == (
        True, 0, 0)
    assert (message.tolerance_m, message.tolerance_deg) == (2.0, 30.0)
    assert message.header.frame_id == 'camera'
    assert message.map_id == open_map(town_map).manifest.map_id


def test_a_match_is_read_back_from_its_message():
    from seqnet_ros.nodes.conversions import match_from_message, match_to_message

    candidate = Candidate(7, 3 * 10**9, make_pose(1.0, 2.0, yaw=0.5), 0.5, 0.25, 0.75, 'town', 12)
    sent = MatchResult(0, 10**9 + 1, 10**8, (candidate,), Reason.AMBIGUOUS, 0.125, 0.0625)
    message = match_to_message(sent, 'camera', 'other', 'map', 'robot 3')
    assert (message.map_id, message.map_frame_id, message.robot_id) == ('town', 'map', 'robot 3')
    back = match_from_message(message)
    assert back.candidates[0].pose == pytest.approx(candidate.pose, abs=1e-15)
    same_pose = replace(back.candidates[0], pose=candidate.pose)
    assert replace(back, candidates=(same_pose,)) == sent
    filtered = replace(sent, off_map=0.25, pose=make_pose(1.5, 2.0))
    back = match_from_message(match_to_message(filtered, 'camera', 'other', 'map'))
    assert back.off_map == 0.25
    assert back.pose == pytest.approx(filtered.pose, abs=1e-15)
    for field, value, words in (('reason', 99, 'has the reason 99'),
                                ('off_map', float('inf'), 'probability inf'),
                                ('accepted', True, 'its reason is AMBIGUOUS')):
        broken = match_to_message(sent, 'camera', 'other', 'map')
        setattr(broken, field, value)
        with pytest.raises(InputError, match=words):
            match_from_message(broken)
    message.candidates[0].score = float('nan')
    with pytest.raises(InputError, match='expected finite numbers'):
        match_from_message(message)


@pytest.mark.parametrize('kind', ['odometry', 'pose', 'pose_with_covariance'])
def test_late_and_missing_truth(kind, town_map):
    places = open_map(town_map).poses
    second = 10**9
    with (evaluating(town_map, truth_type=kind, truth_patience_s=1.5) as (node, peer, published),
          saying(peer) as matches):
        truth = Truth(peer, kind)
        matches.publish(match(town_map, 2 * second, 2, 30))
        eventually(lambda: node.evaluation.waiting == 1, 'a match that waits')
        eventually(lambda: published and published[-1].waiting_for_truth == 1, 'word of it')
        assert published[-1].results == 0
        assert math.isnan(published[-1].recall_at_1)
        truth.tell(second, places[1])
        truth.tell(3 * second, places[3])
        eventually(lambda: published[-1].hits == 1, 'a judgement between two true poses')
        assert published[-1].error_worst == pytest.approx(
            np.linalg.norm(places[2, :3] - (places[1, :3] + places[3, :3]) / 2), abs=1e-5)
        matches.publish(match(town_map, 9 * second, 9))
        eventually(lambda: published[-1].results == 2, 'an end of the patience')
        assert (published[-1].unknown, published[-1].hits, published[-1].with_truth) == (1, 1, 1)
        assert published[-1].precision == 1.0, 'what is not known is not wrong'


def test_reset_and_save(town_map, tmp_path):
    from seqnet_ros.srv import SaveEvaluation
    from std_srvs.srv import Trigger

    answers = SaveEvaluation.Response
    places = open_map(town_map).poses
    with (evaluating(town_map) as (node, peer, published), saying(peer) as matches):
        def save(path: Path | str) -> Any:
            return peer.call(SaveEvaluation, 'evaluator/save', path=str(path))

        nothing = save(tmp_path / 'nothing.json')
        assert nothing.result == answers.RESULT_NOTHING_TO_SAVE
        assert 'no match has been evaluated yet' in nothing.message
        truth = Truth(peer)
        truth.tell(1, places[1])
        matches.publish(match(town_map, 1, 40))
        eventually(lambda: published and published[-1].wrong == 1, 'a wrong match')
        assert published[-1].first_fix == published[-1].FIRST_FIX_WRONG
        good = save(tmp_path / 'new' / 'live.json')
        assert good.result == answers.RESULT_SUCCESS, good.message
        document = json.loads((tmp_path / 'new' / 'live.json').read_text())
        assert document['measures'] == node.evaluation.accumulator.compute().as_json()
        assert document['settings']['tolerance_m'] == 2.0
        assert document['verdict']['level'] == 'poor'
        (tmp_path / 'file').write_text('')
        for path, words in (('', 'the path is empty'), (tmp_path / 'file' / 'x', 'cannot be')):
            bad = save(path)
            assert bad.result == answers.RESULT_WRITE_FAILED
            assert words in bad.message

        answer = peer.call(Trigger, 'evaluator/reset')
        assert answer.success
        assert answer.message.startswith('discarded 1 matches')
        eventually(lambda: published[-1].results == 0, 'nothing left')
        truth.tell(2, places[2])
        matches.publish(match(town_map, 2, 2))
        eventually(lambda: published[-1].hits == 1, 'a right match')
        assert (published[-1].results, published[-1].wrong) == (1, 0)
        assert published[-1].first_fix == published[-1].FIRST_FIX_RIGHT


def test_matches_of_another_map_are_told_and_left_out(town_map, log):
    with (evaluating(town_map) as (node, peer, published), saying(peer) as matches):
        for stamp in range(1, 4):
            matches.publish(match(town_map, stamp, 3, map_id='street'))
        eventually(lambda: published and published[-1].unusable == 3, 'three that are left out')
        assert len(node.evaluation) == node.evaluation.waiting == 0
        known = open_map(town_map).manifest.map_id
        sentence = f'searches map street, but the evaluator uses map {known}'
        eventually(lambda: sentence in log, 'a line in the log')
        assert log.count(sentence) == 1, 'it is told once'
        eventually(lambda: any(
            sentence in status.message and status.level == b'\x02'
            for report in peer.diagnostics for status in report.status
            if status.name.startswith('evaluator')), 'an error in the diagnostics')
        contradictory = match(town_map, 5, 3)
        contradictory.accepted = False
        matches.publish(contradictory)
        eventually(lambda: published[-1].unusable == 4, 'one more')
        assert 'not accepted, but its reason is ACCEPTED' in node.matches.errors.last_error


def test_silence_is_told_with_topic_and_publishers(town_map, log):
    with evaluating(town_map, silence_after_s=0.3) as (_, peer, published):
        eventually(lambda: 'no match on /localizer/place_match for' in log, 'a warning')
        eventually(lambda: 'no true pose on /truth for' in log, 'a warning')
        eventually(lambda: published, 'numbers that are not known yet')
        eventually(lambda: any(
            'no match on /localizer/place_match' in status.message
            for report in peer.diagnostics for status in report.status), 'word of it')


@pytest.mark.parametrize(('arguments', 'sentence'), [
    ([], 'the parameter map is empty'),
    (['-p', 'map:=/nowhere/at/all'], '/nowhere/at/all'),
    (['-p', 'tolerance_m:=-1.0'], 'tolerance_m'),
    (['-p', 'truth_type:=gps'], 'truth_type')])
def test_what_it_cannot_start_with_ends_the_process_with_a_reason(arguments, sentence):
    done = subprocess.run(
        [sys.executable, '-m', 'seqnet_ros.nodes', 'evaluator', '--ros-args', *arguments],
        capture_output=True, text=True, timeout=PATIENCE_S, env=dict(os.environ))
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_map_without_poses_is_refused(first_drive, tmp_path):
    from seqnet_ros.maps.map_writer import save_map
    from seqnet_ros.maps.mapper import Mapper

    model = load_model('hog', device='cpu')
    mapper = Mapper(model, with_keyframes(model, every='1'))
    for stamp_ns, image, _ in first_drive[:10]:
        mapper.push(image, stamp_ns)
    save_map(mapper.finish(), tmp_path / 'map')
    with (pytest.raises(InputError, match='frame numbers instead of poses'),
          evaluating(tmp_path / 'map')):
        pass
