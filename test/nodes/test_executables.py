"""The executables as a user starts them: parameter files, autostart, exit status, signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from map_files import make_map, small_model
from node_harness import PATIENCE_S, Peer, Shown, deliver, eventually, mapping, render

from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import load_model

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros


@contextmanager
def process(name: str, *arguments: str, log: Path,
            program: tuple[str, ...] = ('-m', 'seqnet_ros.nodes')) -> Iterator[subprocess.Popen]:
    """Run an executable the way it runs on a robot: message fields unchecked."""
    environment = {key: value for key, value in os.environ.items()
                   if key != 'ROS_PYTHON_CHECK_FIELDS'}
    with log.open('w') as output:
        running = subprocess.Popen(
            [sys.executable, *program, name, '--ros-args', *arguments],
            stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            yield running
        finally:
            running.kill()
            running.wait()


@contextmanager
def listening(name: str) -> Iterator[Peer]:
    context = rclpy.Context()
    rclpy.init(context=context)
    peer = Peer(context, name)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(peer.node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        executor.shutdown()
        thread.join(PATIENCE_S)
        peer.node.destroy_node()
        rclpy.shutdown(context=context)


def end(running: subprocess.Popen, how: signal.Signals) -> int:
    running.send_signal(how)
    return running.wait(PATIENCE_S)


def refusal(log: Path, *arguments: str) -> str:
    """Return what a localizer logs that ends with status 2, without a traceback."""
    with process('localizer', *arguments, log=log) as running:
        assert running.wait(PATIENCE_S) == 2
    text = log.read_text()
    assert 'Traceback' not in text
    return text


def test_a_refused_parameter_ends_the_process_with_one_sentence(tmp_path):
    text = refusal(tmp_path / 'log', '-p', 'sequence.length:=0')
    assert 'sequence.length out of range. Min: 1, Max: 1000, value: 0' in text


@pytest.mark.parametrize(('arguments', 'found'), [
    (['--nonsense'], '--nonsense'),
    (['--params-file', '/nowhere.yaml'], '/nowhere.yaml'),
    (['--enclave', '/nothing'], 'enclaves/nothing')])
def test_what_ros_refuses_ends_the_process_with_one_sentence(arguments, found, tmp_path,
                                                             monkeypatch):
    (tmp_path / 'enclaves').mkdir()
    monkeypatch.setenv('ROS_SECURITY_KEYSTORE', str(tmp_path))
    monkeypatch.setenv('ROS_SECURITY_STRATEGY', 'Enforce')
    monkeypatch.setenv('ROS_SECURITY_ENABLE', str('--enclave' in arguments).lower())
    text = refusal(tmp_path / 'log', *arguments)
    assert 'ROS refuses what the node is started with: ' in text
    assert found in text


def test_a_middleware_without_security_does_not_start_unprotected(tmp_path, monkeypatch):
    """A node that must be protected by SROS2 ends where Fast DDS was built without it."""
    (tmp_path / 'enclaves' / 'robot').mkdir(parents=True)
    monkeypatch.setenv('ROS_SECURITY_KEYSTORE', str(tmp_path))
    monkeypatch.setenv('ROS_SECURITY_STRATEGY', 'Enforce')
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    assert '[FATAL]' in refusal(tmp_path / 'log', '--enclave', '/robot')


def test_a_failed_autostart_is_told_and_the_process_stays(tmp_path):
    log = tmp_path / 'log'
    with process('localizer', '-p', f'map:={tmp_path}/nowhere', log=log) as running:
        eventually(lambda: 'autostart failed' in log.read_text(), 'the message')
        assert f'no map at {tmp_path}/nowhere' in log.read_text()
        assert running.poll() is None
        assert end(running, signal.SIGINT) == 0
    assert 'Traceback' not in log.read_text()


UNSENT = """
import sys
from rclpy._rclpy_pybind11 import RCLError
from rclpy.service import Service
from seqnet_ros.nodes.__main__ import start

send, lost = Service.send_response, []

def lose(service, response, header):
    if service.srv_name.endswith('/clear') and len(lost) < 3:
        lost.append(response)
        raise RCLError('failed to send response: cannot publish data, at rmw_response.cpp:186')
    send(service, response, header)

Service.send_response = lose
start(sys.argv.pop(1))
"""
"""A node whose first answers the middleware refuses, as when a client is killed that waits."""


def test_an_answer_that_cannot_be_sent_does_not_end_the_node(tmp_path):
    from std_srvs.srv import Trigger

    log = tmp_path / 'log'
    with listening('localizer') as peer, process(
            'localizer', '-p', 'model:=hog', log=log, program=('-c', UNSENT)) as running:
        client = peer.node.create_client(Trigger, 'localizer/clear')
        eventually(client.service_is_ready, 'the service')
        unanswered = [client.call_async(Trigger.Request()) for _ in range(3)]
        eventually(lambda: 'a message was not sent' in log.read_text(), 'the message')
        assert peer.call(Trigger, 'localizer/clear').success
        assert not any(future.done() for future in unanswered)
        assert end(running, signal.SIGINT) == 0
    text = log.read_text()
    assert 'Traceback' not in text
    assert text.count('a message was not sent') == 1  # within ten seconds


@pytest.mark.parametrize('module', [
    'bridges.rtabmap_node', 'bridges.pose_graph_node', 'evaluator_node', 'bag_player'])
def test_nodes_without_a_network_do_without_torch(module):
    code = (f'import sys, seqnet_ros.nodes.{module}; '
            'print(sorted({"torch", "torchvision", "timm"} & set(sys.modules)))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done.stdout + done.stderr


def test_an_interrupted_node_leaves_the_graph_at_once(tmp_path):
    """The others need not wait for the 20 s after which the middleware gives a process up."""
    with listening('mapper') as peer, process('mapper', log=tmp_path / 'log') as running:
        eventually(lambda: 'mapper' in peer.node.get_node_names(), 'the node')
        eventually(lambda: peer.diagnostics, 'a report')
        assert end(running, signal.SIGINT) == 0
        ended = time.monotonic()
        eventually(lambda: 'mapper' not in peer.node.get_node_names(), 'its end')
        assert time.monotonic() - ended < 10


def test_a_node_can_be_interrupted_while_it_starts(tmp_path):
    log = tmp_path / 'log'
    with process('localizer', log=log) as running:
        time.sleep(0.5)
        assert end(running, signal.SIGINT) == 0
    assert 'Traceback' not in log.read_text()


def test_a_suspended_node_goes_on_and_does_not_blame_the_way_of_the_images(tmp_path):
    image, log = np.full((60, 80, 3), 90, np.uint8), tmp_path / 'log'
    with listening('mapper') as peer, process(
            'mapper', '-p', 'model:=hog', '-p', 'save_on_shutdown:=false', log=log) as running:
        eventually(peer.raw.get_subscription_count, 'a subscription')
        shown = 0

        def show(seconds: float) -> None:
            nonlocal shown
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                shown += 1
                peer.show(image, shown * 10 ** 8)
                time.sleep(0.05)

        def received() -> int:
            return max((int(item.value) for report in peer.diagnostics
                        for item in report.status[0].values if item.key == 'images received'),
                       default=0)

        eventually(lambda: show(0.5) or received() > 20, 'images')
        running.send_signal(signal.SIGSTOP)
        show(4.0)
        running.send_signal(signal.SIGCONT)
        before = received()
        eventually(lambda: show(0.5) or received() > before + 60, 'images after the suspension')
    assert 'were lost between camera and node' not in log.read_text()


def show_until_answered(peer: Peer, shown: Shown) -> None:
    shown_at = -1.0

    def answered() -> bool:
        nonlocal shown_at
        if time.monotonic() > shown_at + 1.0:
            peer.show(shown[1], shown[0])
            shown_at = time.monotonic()
        return bool(peer.matches)

    eventually(answered, 'a first result')


def test_the_localizer_publishes_with_unchecked_fields(tmp_path):
    """A NumPy scalar in a field would end the process here, and only here."""
    drive = render(seed=1, count=30)
    mapper = Mapper(load_model('hog', device='cpu'))
    for stamp_ns, image, pose in drive:
        mapper.push(image, stamp_ns, pose)
    save_map(mapper.finish(), tmp_path / 'town')
    params = tmp_path / 'params.yaml'
    params.write_text(f"""
/**:
  ros__parameters:
    map: {tmp_path}/town
    keyframes: {{every: '1', min_change: 0.0}}
    diagnostics_period_s: 0.2
""")
    log = tmp_path / 'log'
    with listening('localizer') as peer, \
            process('localizer', '--params-file', str(params), log=log) as running:
        eventually(lambda: peer.raw.get_subscription_count()
                   and peer.node.count_publishers('localizer/pose'), 'start')
        show_until_answered(peer, drive[0])  # the first images may be lost to discovery
        for stamp_ns, image, _ in drive[1:20]:
            answers = len(peer.matches)
            peer.show(image, stamp_ns)
            eventually(lambda answers=answers: len(peer.matches) > answers, 'a result')
        eventually(lambda: peer.poses and peer.diagnostics, 'a pose and a report')
        assert any(match.accepted for match in peer.matches)
        assert end(running, signal.SIGTERM) == 0
    assert 'Traceback' not in log.read_text()


def test_the_mapper_saves_when_it_is_interrupted(tmp_path):
    log = tmp_path / 'log'
    arguments = ('-p', f'map:={tmp_path}/made', '-p', 'use_odometry:=false',
                 '-p', 'image_reliability:=reliable', '-p', 'image_queue_depth:=50')
    rng = np.random.default_rng(0)
    with listening('mapper') as peer, process('mapper', *arguments, log=log) as running:
        eventually(peer.raw.get_subscription_count, 'start')
        last = 0

        def show_and_look() -> bool:
            nonlocal last
            last += 1
            peer.show(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), last * 10**8)
            values = {item.key: item.value for array in peer.diagnostics[-1:]
                      for item in array.status[0].values}
            return int(values.get('map places', 0)) > 3

        eventually(show_and_look, 'a few places')
        assert end(running, signal.SIGINT) == 0
    assert len(open_map(tmp_path / 'made')) > 3
    assert 'saved' in log.read_text()
    assert 'Traceback' not in log.read_text()


def test_the_mapper_leaves_another_map_alone(tmp_path):
    """At the start it refuses the path; at the end the map of the drive is saved beside."""
    path = tmp_path / 'made'
    save_map(make_map(small_model()), path)
    before = open_map(path).manifest.map_id
    log = tmp_path / 'log'
    with process('mapper', '-p', f'map:={path}', log=log) as running:
        eventually(lambda: 'is a map already' in log.read_text(), 'a refusal')
        assert end(running, signal.SIGINT) == 0
    assert [entry.name for entry in tmp_path.iterdir() if entry != log] == ['made']
    assert open_map(path).manifest.map_id == before


def test_a_map_that_came_meanwhile_is_not_replaced(tmp_path):
    from seqnet_ros.srv import SaveMap

    path, images = tmp_path / 'made', np.random.default_rng(0)
    with mapping(map=str(path), use_odometry=False) as (node, peer):
        for number in range(4):
            image = images.integers(0, 255, (60, 80, 3), dtype=np.uint8)
            deliver(node, lambda image=image, number=number: peer.show(image, number * 10**8))
        save_map(make_map(small_model()), path)
        before = open_map(path).manifest.map_id
        answer = peer.call(SaveMap, 'mapper/save_map')
        assert answer.result == SaveMap.Response.RESULT_MAP_EXISTS
        assert 'is a map already' in answer.message
        answer = peer.call(SaveMap, 'mapper/save_map', path=str(tmp_path / 'usb' / 'map'))
        assert answer.result == SaveMap.Response.RESULT_WRITE_FAILED
        assert 'usb does not exist' in answer.message
        node.trigger_deactivate()
    assert open_map(path).manifest.map_id == before
    assert len(open_map(tmp_path / 'made~1')) == 4


def test_the_mapper_replaces_a_map_when_asked_to_and_then_its_own(tmp_path):
    from seqnet_ros.srv import SaveMap

    path, images = tmp_path / 'made', np.random.default_rng(0)
    save_map(make_map(small_model()), path)
    before = open_map(path).manifest.map_id
    with mapping(map=str(path), use_odometry=False, overwrite=True) as (node, peer):
        for number in range(4):
            image = images.integers(0, 255, (60, 80, 3), dtype=np.uint8)
            deliver(node, lambda image=image, number=number: peer.show(image, number * 10**8))
            answer = peer.call(SaveMap, 'mapper/save_map')
            assert answer.result == SaveMap.Response.RESULT_SUCCESS, answer.message
            assert ('kept as' in answer.message) == (number == 0)
    assert len(open_map(path)) == 4
    assert open_map(tmp_path / 'made~1').manifest.map_id == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['made', 'made~1']
