"""Launch files and parameter files: what they start exists, what they set is declared."""

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqnet_ros.nodes.__main__ import NODES as EXECUTABLES

ROOT = Path(__file__).resolve().parents[2]
FILES = {'localization': 'localizer', 'mapping': 'mapper', 'slam_loop_closure': 'loop_closer',
         'replay': 'localizer', 'evaluation': 'evaluator'}
NODES = ('localizer', 'mapper', 'loop_closer')
COMMON = {'namespace', 'params_file', 'model', 'map', 'image_topic', 'camera_info_topic',
          'odometry_topic', 'use_sim_time', 'autostart', 'log_level', 'enclaves'}
POSES = {'pose_topic', 'publish_initial_pose', 'initial_pose_topic'}
ARGUMENTS = {
    'mapping': COMMON,
    'localization': COMMON | POSES | {'rviz'},
    'slam_loop_closure': COMMON | {'slam', 'bridge_params_file', 'rtabmap_namespace',
                                   'pose_graph_topic', 'rviz'},
    'replay': COMMON | POSES | {'bag', 'rate', 'loop', 'bag_delay', 'rviz'},
    'evaluation': {'namespace', 'params_file', 'map', 'match_topic', 'truth_topic', 'truth_type',
                   'tolerance_m', 'tolerance_deg', 'use_sim_time', 'log_level', 'enclaves'},
}
PATIENCE_S = 60.0
needs_launch = pytest.mark.skipif(
    importlib.util.find_spec('launch_ros') is None, reason='launch_ros is not installed')
needs_ros2_launch = pytest.mark.skipif(
    shutil.which('ros2') is None or importlib.util.find_spec('ros2launch') is None,
    reason='ros2 launch is not installed')


# What holds without ROS.


def test_all_launch_files_are_tested():
    assert {item.name for item in (ROOT / 'launch').glob('*.py')} == {
        f'{item}.launch.py' for item in FILES}


@pytest.mark.parametrize('name', FILES)
def test_a_launch_file_can_be_copied(name):
    """It needs ROS's launch, and one module of helpers that every installation has."""
    tree = ast.parse((ROOT / 'launch' / f'{name}.launch.py').read_text())
    imported = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom)}
    assert {item.split('.')[0] for item in imported} <= {
        'launch', 'launch_ros', 'seqnet_ros', 'pathlib'}
    assert {item for item in imported if item.startswith('seqnet_ros')} <= {
        'seqnet_ros.nodes.launch_arguments'}


@pytest.mark.parametrize('name', FILES)
def test_every_argument_is_declared_with_its_description(name):
    tree = ast.parse((ROOT / 'launch' / f'{name}.launch.py').read_text())
    calls = [item for item in ast.walk(tree) if isinstance(item, ast.Call)
             and getattr(item.func, 'id', '') == 'DeclareLaunchArgument']
    assert all(any(word.arg == 'description' for word in call.keywords) for call in calls)
    named = {call.args[0].value for call in calls}
    included = ARGUMENTS['localization'] if name == 'replay' else set()
    assert named | included == ARGUMENTS[name]


@pytest.mark.parametrize('node', [*NODES, 'evaluator', 'rtabmap_bridge', 'pose_graph_bridge'])
def test_what_is_started_is_installed_with_its_parameters(node):
    assert node in EXECUTABLES
    assert (ROOT / 'config' / f'{node}.yaml').is_file()


@pytest.mark.requires_ros
@pytest.mark.parametrize('node', ['localizer', 'mapper', 'evaluator'])
def test_parameter_files_hold_the_defaults(node):
    from seqnet_ros.nodes.settings import EvaluatorSettings, LocalizerSettings, MapperSettings

    settings = {'localizer': LocalizerSettings(), 'mapper': MapperSettings(),
                'evaluator': EvaluatorSettings()}[node]
    content = yaml.safe_load((ROOT / 'config' / f'{node}.yaml').read_text())
    assert content == {'/**': {'ros__parameters': settings.model_dump()}}


# What the descriptions say.


def describe(name: str) -> Any:
    path = ROOT / 'launch' / f'{name}.launch.py'
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def actions_started(name: str, **arguments: str) -> list[Any]:
    """Return the processes and timers that a launch file starts, those of included files too."""
    from launch import LaunchContext
    from launch.actions import ExecuteProcess, TimerAction

    def start(entity: Any) -> Iterator[Any]:
        if isinstance(entity, ExecuteProcess | TimerAction):
            if entity.condition is None or entity.condition.evaluate(context):
                yield entity
        else:
            for inner in entity.visit(context) or []:
                yield from start(inner)

    context = LaunchContext()
    context.launch_configurations.update(arguments)
    return list(start(describe(name)))


def nodes_started(name: str, **arguments: str) -> dict[str, Any]:
    """Return the nodes that a launch file starts with some arguments, by executable."""
    from launch_ros.actions import Node

    return {action.node_executable: action for action in actions_started(name, **arguments)
            if isinstance(action, Node)}


@needs_launch
@pytest.mark.parametrize('name', FILES)
def test_every_argument_is_described(name):
    arguments = describe(name).get_launch_arguments()
    assert {item.name for item in arguments} == ARGUMENTS[name]
    for item in arguments:
        assert item.description
        assert 'no description given' not in item.description.lower()


@needs_launch
@pytest.mark.parametrize(('slam', 'bridge'), [
    ('none', set()), ('rtabmap', {'rtabmap_bridge'}), ('pose_graph', {'pose_graph_bridge'})])
def test_the_bridge_asked_for_is_started(slam, bridge):
    started = nodes_started('slam_loop_closure', slam=slam, namespace='robot1')
    assert set(started) == {'loop_closer'} | bridge


@needs_launch
@pytest.mark.parametrize(('enclaves', 'given'), [('', False), ('/seqnet_ros', True)])
def test_every_node_has_the_enclave_of_its_name(enclaves, given):
    for name, node in nodes_started('slam_loop_closure', slam='rtabmap',
                                    enclaves=enclaves).items():
        words = [part.text for item in node.cmd for part in item if hasattr(part, 'text')]
        assert (f'/seqnet_ros/{name}' in words) == ('--enclave' in words) == given


@needs_launch
@pytest.mark.parametrize('name', ['localization', 'slam_loop_closure', 'replay'])
@pytest.mark.parametrize('rviz', ['true', 'false'])
def test_rviz_is_started_where_it_is_asked_for(name, rviz):
    started = nodes_started(name, rviz=rviz, bag='somewhere')
    assert set(started) == {FILES[name]} | ({'rviz2'} if rviz == 'true' else set())


@needs_launch
@pytest.mark.parametrize('loop', ['true', 'false'])
def test_a_replay_plays_the_bag_with_its_clock(loop):
    from launch import LaunchContext
    from launch.actions import ExecuteProcess, TimerAction
    from launch.utilities import perform_substitutions

    arguments = {'bag': 'my bag', 'rate': '2.0', 'loop': loop, 'rviz': 'false'}
    (waiting,) = [item for item in actions_started('replay', **arguments)
                  if isinstance(item, TimerAction)]
    (player,) = waiting.actions
    assert isinstance(player, ExecuteProcess)
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    words = [perform_substitutions(context, item) for item in player.cmd]
    assert words[:4] == ['ros2', 'bag', 'play', 'my bag']
    assert '--clock' in words
    assert words[words.index('--rate') + 1] == '2.0'
    assert ('--loop' in words) == (loop == 'true')


@needs_launch
def test_empty_arguments_leave_the_parameter_file_in_place():
    from launch import LaunchContext

    from seqnet_ros.nodes.launch_arguments import given_parameters

    context = LaunchContext()
    context.launch_configurations.update(map='12', model='', publish_initial_pose='true',
                                         tolerance_m='3')
    given = given_parameters(context, map=str, model=str, publish_initial_pose=bool,
                             tolerance_m=float)
    values = {name: parameter.evaluate(context) for name, parameter in given.items()}
    assert values == {'map': '12', 'publish_initial_pose': True, 'tolerance_m': 3.0}
    assert isinstance(values['tolerance_m'], float)


@needs_launch
@pytest.mark.parametrize(('namespace', 'moved'), [
    ('', []), ('/', []), ('robot1', [('/a/b', '/robot1/a/b')]), ('/r/1/', [('/a/b', '/r/1/a/b')])])
def test_topics_of_rviz_follow_the_namespace(namespace, moved):
    from launch import LaunchContext

    from seqnet_ros.nodes.launch_arguments import into_namespace

    context = LaunchContext()
    context.launch_configurations['namespace'] = namespace
    assert into_namespace(context, ['/a/b']) == moved


# What really runs.


@contextmanager
def launched(name: str, log: Path, **arguments: str) -> Iterator[subprocess.Popen]:
    """Run a launch file as a user does, and interrupt it as a user does."""
    command = ['ros2', 'launch', str(ROOT / 'launch' / f'{name}.launch.py'),
               *(f'{key}:={value}' for key, value in arguments.items())]
    with log.open('w') as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            yield running
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_S) == 0, log.read_text()
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


@contextmanager
def listener() -> Iterator[Any]:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('listener', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(PATIENCE_S)
        node.destroy_node()
        rclpy.shutdown(context=context)


def lifecycle_state(node: Any, name: str) -> str:
    """Return the lifecycle state of another node; '' where there is none yet."""
    from lifecycle_msgs.srv import GetState
    from node_harness import eventually

    client = node.create_client(GetState, f'{name}/get_state')
    try:
        eventually(client.service_is_ready, f'the node {name}')
        future = client.call_async(GetState.Request())
        eventually(future.done, f'the state of {name}')
        return future.result().current_state.label
    finally:
        node.destroy_client(client)


@pytest.mark.requires_ros
@needs_ros2_launch
@pytest.mark.parametrize('name', FILES)
def test_show_args_lists_the_arguments(name):
    done = subprocess.run(
        ['ros2', 'launch', str(ROOT / 'launch' / f'{name}.launch.py'), '--show-args'],
        capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    for argument in ARGUMENTS[name]:
        assert f"'{argument}':" in done.stdout


@pytest.mark.requires_ros
@needs_ros2_launch
@pytest.mark.parametrize(('name', 'autostart', 'state'), [
    ('localization', 'true', 'active'), ('localization', 'false', 'unconfigured'),
    ('mapping', 'true', 'active'), ('slam_loop_closure', 'true', 'active')])
def test_launch_files_start_their_node(name, autostart, state, tmp_path):
    from node_harness import eventually

    with listener() as peer, launched(name, tmp_path / 'log', autostart=autostart,
                                      namespace='robot1', image_topic='/front/image'):
        eventually(lambda: lifecycle_state(peer, f'/robot1/{FILES[name]}') == state,
                   f'the state {state}')
        if autostart == 'true':
            eventually(lambda: peer.count_subscribers('/front/image'), 'a subscription')


@pytest.mark.requires_ros
@needs_ros2_launch
def test_poses_go_where_another_localizer_wants_them(tmp_path):
    from node_harness import eventually

    with listener() as peer, launched(
            'localization', tmp_path / 'log', pose_topic='/robot/place',
            publish_initial_pose='true', initial_pose_topic='/nav/initialpose'):
        for topic in ('/robot/place', '/nav/initialpose'):
            eventually(lambda topic=topic: peer.count_publishers(topic), topic)
        assert not peer.count_publishers('/localizer/pose')
        assert not peer.count_publishers('/initialpose')


@pytest.mark.requires_ros
@needs_ros2_launch
def test_the_evaluator_listens_where_it_is_told_to(town_map, tmp_path):
    from node_harness import eventually

    with listener() as peer, launched(
            'evaluation', tmp_path / 'log', map=str(town_map), namespace='robot1', tolerance_m='3',
            truth_topic='/gps/pose', truth_type='pose'):
        eventually(lambda: peer.count_subscribers('/robot1/localizer/place_match'), 'matches')
        eventually(lambda: peer.count_publishers('/robot1/evaluator/evaluation'), 'evaluations')
        eventually(lambda: [item.topic_type for item in peer.get_subscriptions_info_by_topic(
            '/gps/pose')] == ['geometry_msgs/msg/PoseStamped'], 'truth')


@pytest.mark.requires_ros
@needs_ros2_launch
@pytest.mark.parametrize(('slam', 'package', 'topics'), [
    ('rtabmap', 'rtabmap_msgs', ['/rtabmap/info', '/rtabmap/mapGraph', '/wheels']),
    ('pose_graph', 'pose_graph_tools_msgs', [])])
def test_bridges_are_connected(slam, package, topics, tmp_path):
    from node_harness import eventually

    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed')
    with listener() as peer, launched(
            'slam_loop_closure', tmp_path / 'log', slam=slam, odometry_topic='/wheels',
            pose_graph_topic='/hydra/external_loop_closures', namespace='r'):
        for topic in ['/r/loop_closer/loop_closure', *topics]:
            eventually(lambda topic=topic: peer.count_subscribers(topic), topic)
        if slam == 'pose_graph':
            eventually(lambda: peer.count_publishers('/hydra/external_loop_closures'), 'edges')
        else:
            clients = [name for name, _ in peer.get_client_names_and_types_by_node(
                'rtabmap_bridge', '/r')]
            assert '/rtabmap/rtabmap/add_link' in clients


@pytest.mark.requires_ros
@needs_ros2_launch
def test_a_launch_file_localizes_two_robots_apart(tmp_path):
    """Two launches in two namespaces: each robot sees its own camera and moves its own pose."""
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from node_harness import eventually, raw_message, render, with_keyframes
    from sensor_msgs.msg import Image
    from seqnet_ros.msg import PlaceMatch

    from seqnet_ros.maps.map_writer import save_map
    from seqnet_ros.maps.mapper import Mapper
    from seqnet_ros.models.place_model import load_model

    model = load_model('hog', device='cpu')
    mapper = Mapper(model, with_keyframes(model, every='1'))
    for stamp_ns, image, pose in render(seed=1, count=50):
        mapper.push(image, stamp_ns, pose)
    save_map(mapper.finish(), tmp_path / 'map')
    settings = tmp_path / 'settings.yaml'
    settings.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'keyframes.every': '1', 'keyframes.min_change': 0.0, 'silence_after_s': 60.0}}}))
    drive = render(seed=2, count=30, lateral_offset=0.3)

    arguments = {'map': str(tmp_path / 'map'), 'params_file': str(settings)}
    with (listener() as peer, launched('localization', tmp_path / 'a', namespace='a', **arguments),
          launched('localization', tmp_path / 'b', namespace='b', **arguments)):
        cameras, matches, poses = {}, {}, {}
        for robot in 'ab':
            matches[robot], poses[robot] = [], []
            cameras[robot] = peer.create_publisher(Image, f'/{robot}/image', 10)
            peer.create_subscription(PlaceMatch, f'/{robot}/localizer/place_match',
                                     matches[robot].append, 100)
            peer.create_subscription(PoseWithCovarianceStamped, f'/{robot}/localizer/pose',
                                     poses[robot].append, 100)
        for robot in 'ab':
            eventually(lambda robot=robot: lifecycle_state(
                peer, f'/{robot}/localizer') == 'active', 'an active node')
            eventually(cameras[robot].get_subscription_count, 'a subscription')
        for number, (stamp_ns, image, _) in enumerate(drive):
            cameras['a'].publish(raw_message(image, stamp_ns))
            eventually(lambda number=number: len(matches['a']) > number, 'a result of a')
        assert poses['a']
        assert not matches['b']
        assert not poses['b']
        cameras['b'].publish(raw_message(drive[0][1], drive[0][0]))
        eventually(lambda: len(matches['b']) == 1, 'a result of b')
        assert len(matches['a']) == len(drive)
