"""The generated messages and services: they exist, travel, and agree with the Python core."""

import time

import pytest

from seqnet_ros.localization.result import Reason

pytestmark = pytest.mark.requires_ros


def constants(interface) -> dict[str, int]:
    """Return the numbered constants of a message class."""
    return {
        name: value for name in dir(interface)
        if name.isupper() and isinstance(value := getattr(interface, name), int)
    }


def test_place_match_fields():
    from seqnet_ros.msg import PlaceCandidate, PlaceMatch

    match = PlaceMatch.get_fields_and_field_types()
    assert next(iter(match)) == 'header', 'stamped messages start with their header'
    assert match['candidates'] == 'sequence<seqnet_ros/PlaceCandidate>'
    assert match['sequence_start'] == 'builtin_interfaces/Time'
    assert match['describe_seconds'] == match['match_seconds'] == 'float'
    candidate = PlaceCandidate.get_fields_and_field_types()
    assert candidate == {
        'map_id': 'string',
        'place_id': 'uint32',
        'stamp': 'builtin_interfaces/Time',
        'pose': 'geometry_msgs/Pose',
        'descriptor_distance': 'float',
        'sequence_distance': 'float',
        'score': 'float',
        'inliers': 'uint32',
    }


def test_reasons_have_the_numbers_of_the_core():
    from seqnet_ros.msg import PlaceMatch

    assert constants(PlaceMatch) == {reason.name: reason.value for reason in Reason}


def test_states_have_the_numbers_of_the_core():
    from seqnet_ros.msg import LocalizationStatus

    from seqnet_ros.localization.status import State

    assert constants(LocalizationStatus) == {state.name: state.value for state in State}
    fields = LocalizationStatus.get_fields_and_field_types()
    assert next(iter(fields)) == 'header'


def test_loop_closure_names_both_frames():
    from seqnet_ros.msg import LoopClosure

    fields = LoopClosure.get_fields_and_field_types()
    for end in ('from', 'to'):
        assert fields[f'{end}_id'] == 'uint32'
        assert fields[f'{end}_stamp'] == 'builtin_interfaces/Time'
    assert fields['relative_pose'] == 'geometry_msgs/PoseWithCovariance'
    assert fields['has_relative_pose'] == 'boolean'


def test_an_evaluation_says_what_it_measures_in_plain_numbers():
    from seqnet_ros.msg import Evaluation

    fields = Evaluation.get_fields_and_field_types()
    assert next(iter(fields)) == 'header'
    assert set(fields.values()) == {'std_msgs/Header', 'builtin_interfaces/Time', 'string',
                                    'uint8', 'uint32', 'double'}
    assert len(set(constants(Evaluation).values())) == 3


def test_service_results_are_numbered_and_explained():
    from seqnet_ros.srv import FindPlace, LoadMap, Relocalize, SaveEvaluation, SaveMap

    assert constants(LoadMap.Response) == {
        'RESULT_SUCCESS': 0, 'RESULT_MAP_NOT_FOUND': 1, 'RESULT_INVALID_MAP': 2,
        'RESULT_MODEL_MISMATCH': 3, 'RESULT_DUPLICATE_MAP': 4, 'RESULT_UNDEFINED_FAILURE': 255,
    }
    for service in (LoadMap, SaveMap, SaveEvaluation, FindPlace, Relocalize):
        response = service.Response.get_fields_and_field_types()
        assert response['result'] == 'uint8'
        assert response['message'] == 'string'
        numbers = constants(service.Response)
        assert numbers['RESULT_SUCCESS'] == 0
        assert len(set(numbers.values())) == len(numbers)
    assert FindPlace.Response().get_fields_and_field_types()['match'] == 'seqnet_ros/PlaceMatch'
    assert (Relocalize.Response().get_fields_and_field_types()['match']
            == 'seqnet_ros/PlaceMatch')


def test_a_place_match_arrives_as_it_was_sent():
    import rclpy
    from seqnet_ros.msg import PlaceCandidate, PlaceMatch

    sent = PlaceMatch(map_id='corridor', accepted=True, reason=PlaceMatch.ACCEPTED)
    sent.header.stamp.nanosec = 7
    sent.candidates = [PlaceCandidate(place_id=3, score=0.5), PlaceCandidate(place_id=9)]
    received: list[PlaceMatch] = []
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node('test_interfaces', context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        node.create_subscription(PlaceMatch, 'place_match', received.append, 10)
        publisher = node.create_publisher(PlaceMatch, 'place_match', 10)
        deadline = time.monotonic() + 30
        while not received and time.monotonic() < deadline:
            publisher.publish(sent)
            executor.spin_once(timeout_sec=0.1)
        executor.shutdown()
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert received
    assert received[0] == sent


def test_a_wrong_field_type_is_a_python_error():
    """Guards the test setup: without the check the process would die inside C code."""
    from seqnet_ros.msg import PlaceCandidate

    with pytest.raises(AssertionError, match='score'):
        PlaceCandidate(score=1)
