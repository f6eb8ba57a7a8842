"""Launch files and parameter files: what they start exists, what they set is declared."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from seqnet_ros.nodes.__main__ import NODES as EXECUTABLES

ROOT = Path(__file__).resolve().parents[2]
FILES = {'localization': 'localizer', 'mapping': 'mapper', 'slam_loop_closure': 'loop_closer',
         'replay': 'localizer', 'evaluation': 'evaluator'}
NODES = ('localizer', 'mapper', 'loop_closer')
IMAGES = {'image_transport', 'qos', 'device', 'respawn', 'fastdds_profile'}
COMMON = {'namespace', 'params_file', 'model', 'map', 'image_topic', 'camera_info_topic',
          'odometry_topic', 'use_sim_time', 'autostart', 'log_level', 'enclaves'} | IMAGES
POSES = {'pose_topic', 'publish_initial_pose', 'initial_pose_topic', 'publish_tf'}
ARGUMENTS = {
    'mapping': COMMON,
    'localization': COMMON | POSES | {'grids', 'map_server', 'rviz'},
    'slam_loop_closure': COMMON | {'slam', 'bridge_params_file', 'rtabmap_namespace',
                                   'pose_graph_topic', 'rviz'},
    'replay': COMMON | POSES | {'grids', 'map_server', 'bag', 'rate', 'loop', 'patience_s',
                               'rviz'},
    'evaluation': {'namespace', 'params_file', 'map', 'match_topic', 'truth_topic', 'truth_type',
                   'tolerance_m', 'tolerance_deg', 'use_sim_time', 'log_level', 'enclaves',
                   'respawn'},
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
    """It needs ROS's launch, and two modules of helpers that every installation has."""
    tree = ast.parse((ROOT / 'launch' / f'{name}.launch.py').read_text())
    imported = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom)}
    assert {item.split('.')[0] for item in imported} <= {
        'launch', 'launch_ros', 'seqnet_ros', 'pathlib'}
    assert {item for item in imported if item.startswith('seqnet_ros')} <= {
        'seqnet_ros.nodes.launch_arguments', 'seqnet_ros.nodes.launch_nodes'}


def declarations(file: str) -> list[ast.Call]:
    """Return the arguments that a Python file declares."""
    tree = ast.parse((ROOT / file).read_text())
    return [item for item in ast.walk(tree) if isinstance(item, ast.Call)
            and getattr(item.func, 'id', '') == 'DeclareLaunchArgument']


@pytest.mark.parametrize('name', FILES)
def test_every_argument_is_declared_with_its_description(name):
    calls = declarations(f'launch/{name}.launch.py')
    shared = declarations('seqnet_ros/nodes/launch_arguments.py')
    assert {call.args[0].value for call in shared} == IMAGES
    assert all(any(word.arg == 'description' for word in call.keywords)
               for call in [*calls, *shared])
    named = {call.args[0].value for call in calls}
    included = {'replay': ARGUMENTS['localization'], 'evaluation': set()}.get(name, IMAGES)
    assert named | included == ARGUMENTS[name]


@pytest.mark.parametrize('node', [*NODES, 'evaluator', 'rtabmap_bridge', 'pose_graph_bridge',
                                  'map_server_bridge'])
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
@pytest.mark.parametrize(('grids', 'bridge'), [
    ('', set()), ('hall=/maps/hall.yaml', {'map_server_bridge'})])
def test_the_map_server_follows_where_it_is_asked_for(grids, bridge):
    started = nodes_started('localization', grids=grids, namespace='robot1')
    assert set(started) == {'localizer'} | bridge


@needs_launch
@pytest.mark.parametrize(('enclaves', 'given'), [('', False), ('/seqnet_ros', True)])
def test_every_node_has_the_enclave_of_its_name(enclaves, given):
    for name, node in nodes_started('slam_loop_closure', slam='rtabmap',
                                    enclaves=enclaves).items():
        words = [part.text for item in node.cmd for part in item if hasattr(part, 'text')]
        assert (f'/seqnet_ros/{name}' in words) == ('--enclave' in words) == given


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Path:
    """Stands in for RViz and ``ros2 bag play``, which are not on PyPI.

    RViz here is a process that waits. The player publishes the images of a .npz file, and fails
    for a file that is not there; other ``ros2`` commands are the real ones.
    """
    prefix = tmp_path / 'tools'
    rviz = prefix / 'lib' / 'rviz2' / 'rviz2'
    rviz.parent.mkdir(parents=True)
    rviz.write_text('#!/bin/sh\nexec sleep 600\n')
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'rviz2'
    index.parent.mkdir(parents=True)
    index.touch()
    ros2 = prefix / 'bin' / 'ros2'
    ros2.parent.mkdir()
    ros2.write_text(f"""#!{sys.executable}
import os, sys, time
if sys.argv[1:3] != ['bag', 'play']:
    os.execv({shutil.which('ros2')!r}, sys.argv)
import numpy as np, rclpy
from node_harness import raw_message
from sensor_msgs.msg import Image
assert '--clock' in sys.argv
images = np.load(sys.argv[3])['images']
rclpy.init()
node = rclpy.create_node('player')
publisher = node.create_publisher(Image, 'camera/image_raw', 10)
until = time.monotonic() + 5
while time.monotonic() < until and not publisher.get_subscription_count():
    time.sleep(0.01)
for number, image in enumerate(images):
    publisher.publish(raw_message(image, 10**9 + number * 10**8))
    time.sleep(0.1 / float(sys.argv[sys.argv.index('--rate') + 1]))
""")
    for script in (rviz, ros2):
        script.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}:{os.environ.get("AMENT_PREFIX_PATH", "")}')
    monkeypatch.setenv('PATH', f'{ros2.parent}:{os.environ["PATH"]}')
    monkeypatch.setenv(
        'PYTHONPATH', f'{os.environ.get("PYTHONPATH", "")}:{ROOT / "test" / "fixtures"}')
    return prefix


@needs_launch
@pytest.mark.parametrize('name', ['localization', 'slam_loop_closure', 'replay'])
@pytest.mark.parametrize('rviz', ['true', 'false'])
def test_rviz_is_started_where_it_is_asked_for(name, rviz, tools):
    started = nodes_started(name, rviz=rviz, bag='somewhere')
    played = {'bag_player'} if name == 'replay' else set()
    assert set(started) == {FILES[name]} | played | ({'rviz2'} if rviz == 'true' else set())


@needs_launch
@pytest.mark.parametrize('name', ['localization', 'slam_loop_closure', 'replay'])
def test_nothing_is_started_without_rviz(name):
    if shutil.which('rviz2'):
        pytest.skip('RViz is installed')
    with pytest.raises(RuntimeError, match='nothing was started: the package rviz2 is not'):
        actions_started(name, rviz='true', bag='somewhere')


@needs_launch
@pytest.mark.parametrize('respawn', ['true', 'false'])
def test_nodes_are_respawned_or_end_the_launch(respawn):
    from launch import LaunchContext
    from launch.actions import RegisterEventHandler

    context = LaunchContext()
    context.launch_configurations.update(
        respawn=respawn, namespace='', log_level='info', enclaves='')
    from seqnet_ros.nodes.launch_nodes import ending_together, package_node

    node = package_node(context, 'evaluator', parameters=[])
    started = ending_together(context, [node])
    ends = [item for item in started if isinstance(item, RegisterEventHandler)]
    assert len(ends) == (respawn == 'false')


@needs_launch
def test_the_fast_dds_profile_is_the_packages_unless_another_is_named(monkeypatch):
    from seqnet_ros.nodes.fast_dds import driver_line, profile_environment

    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('ROS_DISTRO', 'kilted')
    (variable, path), = profile_environment().items()
    assert variable == 'FASTDDS_DEFAULT_PROFILES_FILE'
    assert Path(path).is_file()
    assert driver_line() == f'export {variable}={path}'
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    assert profile_environment('/x.xml') == {'FASTRTPS_DEFAULT_PROFILES_FILE': '/x.xml'}
    assert profile_environment('none') == {}
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', '/own.xml')
    assert profile_environment() == {}


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


def run_launch(name: str, **arguments: str) -> subprocess.CompletedProcess:
    """Run a launch file until it ends by itself."""
    return subprocess.run(
        ['ros2', 'launch', str(ROOT / 'launch' / f'{name}.launch.py'),
         *(f'{key}:={value}' for key, value in arguments.items())],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * PATIENCE_S)


def runs(executable: str) -> bool:
    """Return whether a node of this package that this test started still runs."""
    found = subprocess.run(['pgrep', '-f', f'lib/seqnet_ros/{executable} .*__ns:=/ending'],
                           capture_output=True)
    return found.returncode == 0


@pytest.mark.requires_ros
@needs_ros2_launch
def test_missing_rviz_leaves_no_localizer_behind():
    if shutil.which('rviz2'):
        pytest.skip('RViz is installed')
    done = run_launch('localization', rviz='true', namespace='ending')
    assert done.returncode == 1
    assert 'nothing was started: the package rviz2 is not installed' in done.stdout
    assert 'process started' not in done.stdout
    assert not runs('localizer')


@pytest.mark.requires_ros
@needs_ros2_launch
def test_a_node_that_ends_with_an_error_ends_the_launch_with_one(tmp_path, tools):
    settings = tmp_path / 'settings.yaml'
    settings.write_text(yaml.safe_dump({'/**': {'ros__parameters': {'sequence.length': 0}}}))
    done = run_launch('localization', rviz='true', namespace='ending', params_file=str(settings))
    assert done.returncode == 1
    assert 'localizer-1 ended with status 2' in done.stdout
    assert 'Traceback' not in done.stdout
    assert not runs('localizer')


@pytest.fixture
def bag(tmp_path, second_drive) -> Path:
    path = tmp_path / 'bag.npz'
    np.savez(path, images=np.stack([image for _, image, _ in second_drive[:12]]))
    return path


REPLAY = {'rviz': 'true', 'namespace': 'ending', 'image_topic': '/ending/camera/image_raw',
          'use_sim_time': 'false', 'rate': '4.0'}


@pytest.mark.requires_ros
@needs_ros2_launch
def test_a_replay_waits_for_the_localizer_and_ends_everything_with_the_bag(town_map, bag, tools):
    arguments = REPLAY | {'image_topic': '/camera/image_raw'}
    done = run_launch('replay', map=str(town_map), bag=str(bag), **arguments)
    assert done.returncode == 0, done.stdout
    assert done.stdout.index('listening to') < done.stdout.index('is active: playing')
    assert re.search(r'bag_player-\d\]: process has finished cleanly', done.stdout)
    assert not runs('localizer')


@pytest.mark.requires_ros
@needs_ros2_launch
@pytest.mark.parametrize(('changes', 'reason'), [
    ({'map': '/nowhere'}, 'did not become active: cannot configure: no map at /nowhere'),
    ({'image_topic': '/another/topic'}, 'processed no image'),
    ({'bag': '/no/such/bag'}, 'ended with status 1'),
    ({'autostart': 'false', 'patience_s': '1.5'}, 'after 1.5 s, expected an active node')])
def test_a_replay_that_shows_nothing_ends_with_an_error(town_map, bag, tools, changes, reason):
    arguments = REPLAY | {
        'map': str(town_map), 'bag': str(bag), 'image_topic': '/camera/image_raw'} | changes
    done = run_launch('replay', **arguments)
    assert done.returncode == 1, done.stdout
    assert reason in done.stdout
    assert not runs('localizer')


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
def test_a_launch_file_localizes_two_robots_apart(town_map, tmp_path):
    """Two launches in two namespaces: each robot sees its own camera and moves its own pose."""
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from node_harness import eventually, raw_message, render
    from sensor_msgs.msg import Image
    from seqnet_ros.msg import PlaceMatch

    settings = tmp_path / 'settings.yaml'
    settings.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'keyframes.every': '1', 'keyframes.min_change': 0.0, 'silence_after_s': 60.0}}}))
    drive = render(seed=2, count=30, lateral_offset=0.3)

    arguments = {'map': str(town_map), 'params_file': str(settings)}
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
