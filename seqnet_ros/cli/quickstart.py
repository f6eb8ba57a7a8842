"""``seqnet_ros quickstart``: from the topics of a robot, or a bag, to a first map."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from seqnet_ros.cli.console import print_fields, results, say
from seqnet_ros.core.errors import InputError

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO, ODOMETRY = 'sensor_msgs/msg/CameraInfo', 'nav_msgs/msg/Odometry'
TYPES = (RAW, COMPRESSED, CAMERA_INFO, ODOMETRY)
DEPTH_ENCODINGS = ('16UC1', '32FC1', 'mono16')
OWN_IMAGES = 'debug_image'
NONE = 'none'
MAP_NAME = 'quickstart.map'
_STOP_S = 30.0


@dataclass(frozen=True)
class Seen:
    """A topic that was seen.

    Attributes:
        name: its full name.
        kind: its type.
        messages: how many arrived, or are in the bag.
        details: of the first message, e.g. '640x480, rgb8'; empty where none was read.
    """

    name: str
    kind: str
    messages: int
    details: str = ''

    def __str__(self) -> str:
        """Return the topic, human-readable."""
        details = f', {self.details}' if self.details else ''
        return f'{self.name} ({self.messages} messages{details})'


@dataclass(frozen=True)
class Proposal:
    """The inputs for a node.

    Attributes:
        image: topic of the camera, without /compressed.
        transport: 'raw' or 'compressed'.
        camera_info: topic of its calibration, empty without.
        odometry: topic of the odometry, empty without.
    """

    image: str
    transport: str
    camera_info: str
    odometry: str

    @property
    def subscribed(self) -> str:
        """The topic that is subscribed to."""
        return f'{self.image}/compressed' if self.transport == 'compressed' else self.image

    @property
    def launch_arguments(self) -> list[str]:
        """The topics as arguments of the launch files."""
        return [f'{name}:={topic}' for name, topic in (
            ('image_topic', self.image), ('camera_info_topic', self.camera_info),
            ('odometry_topic', self.odometry)) if topic]

    def parameters(self, **more: Any) -> dict[str, Any]:
        """Return the content of a parameter file."""
        return {'/**': {'ros__parameters': {
            'image_transport': self.transport, 'use_odometry': bool(self.odometry),
            'use_camera_info': bool(self.camera_info), **more}}}


def quickstart(
    bag: Annotated[Path | None, typer.Argument(
        help='Bag to look into.', show_default='the live topics')] = None,
    camera: Annotated[str | None, typer.Option(
        help='Image topic, where there are several.', show_default='the only one')] = None,
    odometry: Annotated[str | None, typer.Option(
        help="Odometry topic, where there are several, or 'none'.",
        show_default='the only one')] = None,
    output: Annotated[Path, typer.Option(
        help='Folder for the parameter files and the map; must not exist or be empty.')] = Path(
            'quickstart'),
    seconds: Annotated[float, typer.Option(
        min=1.0, help='How long to look at topics, and then to wait for places.')] = 5.0,
    start: Annotated[bool, typer.Option(help='Start the mapper, or map the bag.')] = True,
    stop: Annotated[bool, typer.Option(
        '--stop', help='Stop the mapper after the check, not with Ctrl+C.')] = False,
) -> None:
    """Find the topics of a robot or a bag, write what starts a node, and make a first map.

    Proposes camera, calibration and odometry, writes the parameter files and prints the launch
    lines, starts the mapper, checks that images arrive and places are made, and says what to do
    next. Where there are several cameras or odometries it asks, or without a terminal stops and
    lists them.
    """
    _check_output(output)
    topics = topics_of_bag(bag) if bag is not None else live_topics(seconds)
    proposal = propose(topics, camera, odometry, sys.stdin.isatty())
    print_fields({
        'camera': f'{proposal.image} ({proposal.transport})',
        'calibration': proposal.camera_info or 'none found: no geometric check',
        'odometry': proposal.odometry or 'none: places are spaced by time'})
    map_path = output.resolve() / MAP_NAME
    write_files(proposal, output, map_path)
    if bag is not None:
        _map_bag(bag, proposal, map_path, start)
    else:
        _map_live(proposal, output, map_path, seconds, start, stop)


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f'{output} exists and is not an empty folder; name another --output')


# Topics.


def live_topics(seconds: float) -> list[Seen]:
    """Return what is published now.

    Raises:
        InputError: ROS 2 is not sourced, or nothing of use is published.
    """
    if find_spec('rclpy') is None:
        raise InputError('rclpy is not installed or not sourced, expected a ROS 2 environment to '
                         'look at live topics; name a bag to do without')
    say('', f'Looking at the topics for {seconds:g} s.')
    found = _survey('topics', seconds)
    return [Seen(item['name'], item['type'], item['messages'], _details(item)) for item in found]


def _survey(what: str, *arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, '-m', 'seqnet_ros.nodes.topic_survey', what, *map(str, arguments)],
        capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise InputError(f'the topics cannot be looked at: {reason}; `seqnet_ros doctor` says more')
    return json.loads(done.stdout.splitlines()[-1])


def _details(item: dict[str, Any]) -> str:
    size = f'{item["width"]}x{item["height"]}' if 'width' in item else ''
    return ', '.join(filter(None, [size, item.get('encoding'), item.get('format')]))


def topics_of_bag(path: Path) -> list[Seen]:
    """Return the topics of a bag; of images, the first message is read.

    Raises:
        InputError: the bag cannot be read.
    """
    from seqnet_ros.datasets.recordings.rosbag import Bag

    bag = Bag(path)
    seen = []
    for topic in bag.topics_of(TYPES):
        details = ''
        if topic.type in (RAW, COMPRESSED) and topic.messages:
            message = bag.decode(next(iter(bag.messages(topic))))
            details = _details({name: getattr(message, name) for name in (
                'width', 'height', 'encoding', 'format') if hasattr(message, name)})
        seen.append(Seen(topic.name, topic.type, topic.messages, details))
    return seen


# The choice.


def propose(topics: Iterable[Seen], camera: str | None, odometry: str | None,
            ask: bool) -> Proposal:
    """Choose the inputs.

    Args:
        topics: what was seen.
        camera: image topic that is asked for, with or without /compressed.
        odometry: odometry topic that is asked for, or 'none'.
        ask: ask on the terminal where there are several; else they are an error.

    Raises:
        InputError: there is none, or several and none is asked for; the message lists them.
    """
    topics = list(topics)
    cameras = group_cameras(topics)
    if not cameras:
        others = ', '.join(str(topic) for topic in topics) or 'none'
        raise InputError('found no camera: no topic of color or gray images; topics of images, '
                         f'calibration and odometry: {others}')
    image = _choose('camera', '--camera', {name: list(transports.values())
                                           for name, transports in cameras.items()},
                    camera and camera.removesuffix('/compressed'), ask)
    transports = cameras[image]
    # Raw images are large; with the default settings of the middleware many of them are lost.
    transport = ('raw' if camera == image and 'raw' in transports else
                 next((name for name in ('compressed', 'raw')
                       if name in transports and transports[name].messages), 'raw'))
    if transport not in transports:
        transport = next(iter(transports))
    if not transports[transport].messages:
        say('Warning: ', f'nothing arrived on {transports[transport].name}', style='yellow')
    calibrations = [topic.name for topic in topics if topic.kind == CAMERA_INFO]
    sibling = f'{image.rsplit("/", 1)[0]}/camera_info'
    odometries = {topic.name: [topic] for topic in topics if topic.kind == ODOMETRY}
    chosen = '' if odometry == NONE or (not odometries and odometry is None) else _choose(
        'odometry', f'--odometry, or --odometry {NONE}', odometries, odometry, ask)
    return Proposal(image, transport, sibling if sibling in calibrations else '', chosen)


def group_cameras(topics: Iterable[Seen]) -> dict[str, dict[str, Seen]]:
    """Return the topics of each camera by transport; depth and images of our own are left out."""
    cameras: dict[str, dict[str, Seen]] = {}
    for topic in topics:
        base, last = topic.name.removesuffix('/compressed'), topic.name.rsplit('/', 1)[-1]
        if last in (OWN_IMAGES, 'compressedDepth', 'theora') or base.endswith(f'/{OWN_IMAGES}'):
            continue
        if any(encoding in topic.details for encoding in (*DEPTH_ENCODINGS, 'compressedDepth')):
            continue
        if topic.kind == RAW:
            cameras.setdefault(topic.name, {})['raw'] = topic
        elif topic.kind == COMPRESSED and last == 'compressed':
            cameras.setdefault(base, {})['compressed'] = topic
    # A camera beside its raw images that are depth publishes depth as well.
    depth = {topic.name for topic in topics if topic.kind == RAW
             and any(encoding in topic.details for encoding in DEPTH_ENCODINGS)}
    return {name: found for name, found in sorted(cameras.items()) if name not in depth}


def _choose(what: str, option: str, choices: dict[str, list[Seen]], wanted: str | None,
            ask: bool) -> str:
    """Return the topic that is wanted, the only one, or the one that the user names."""
    listed = '; '.join(' and '.join(map(str, topics)) for topics in choices.values()) or 'none'
    if wanted is not None:
        if wanted not in choices:
            raise InputError(f'found no {what} on {wanted}; found {listed}')
        return wanted
    if len(choices) == 1:
        return next(iter(choices))
    if not ask:
        raise InputError(f'found {len(choices)} topics for the {what}, expected one: name it with '
                         f'{option}; found {listed}')
    names = list(choices)
    for number, topics in enumerate(choices.values(), start=1):
        say(f'{number}  ', ' and '.join(map(str, topics)))
    number = typer.prompt(f'Which {what}', type=int)
    if not 1 <= number <= len(names):
        raise InputError(f'the answer is {number}, expected a number from 1 to {len(names)}')
    return names[number - 1]


# Files and launch lines.


def write_files(proposal: Proposal, output: Path, map_path: Path) -> None:
    """Write the parameter files of the mapper and the localizer."""
    output.mkdir(parents=True, exist_ok=True)
    for node, more in (('mapper', {'model': 'hog', 'map': str(map_path)}),
                       ('localizer', {'map': str(map_path)})):
        (output / f'{node}.yaml').write_text(
            f'# Written by `seqnet_ros quickstart`; docs/nodes.md describes the parameters.\n'
            f'{yaml.safe_dump(proposal.parameters(**more), sort_keys=False)}')


def launch_line(kind: str, proposal: Proposal, parameters: Path) -> str:
    """Return the command that starts a node with the proposal."""
    return ' '.join(['ros2 launch seqnet_ros', f'{kind}.launch.py', *map(shlex.quote, [
        f'params_file:={parameters.resolve()}', *proposal.launch_arguments])])


def _say_next(output: Path, proposal: Proposal) -> None:
    results.print('Next: localize in the map, on another drive along the same way:',
                  highlight=False)
    results.print(f'  {launch_line("localization", proposal, output / "localizer.yaml")}',
                  highlight=False, soft_wrap=True)


# First maps.


def _map_bag(bag: Path, proposal: Proposal, map_path: Path, start: bool) -> None:
    command = ['map', 'build', str(bag), '--topic', proposal.subscribed, '--output', str(map_path)]
    if proposal.odometry:
        command += ['--pose-topic', proposal.odometry]
    results.print(f'Map: seqnet_ros {shlex.join(command)}', highlight=False, soft_wrap=True)
    if start:
        done = subprocess.run([sys.executable, '-m', 'seqnet_ros.cli.main', *command])
        if done.returncode != 0:
            raise typer.Exit(done.returncode)
    _say_next(map_path.parent, proposal)


def _map_live(proposal: Proposal, output: Path, map_path: Path, seconds: float, start: bool,
              stop: bool) -> None:
    results.print('Map, while driving the way once; Ctrl+C saves the map:', highlight=False)
    results.print(f'  {launch_line("mapping", proposal, output / "mapper.yaml")}',
                  highlight=False, soft_wrap=True)
    if not start:
        _say_next(output, proposal)
        return
    mapper = subprocess.Popen(_mapper_command(proposal, output), env={**os.environ})
    try:
        _check_mapper(mapper, seconds)
        if not stop:
            say('', 'Mapping. Drive the way once, then press Ctrl+C.')
            mapper.wait()
    except KeyboardInterrupt:
        pass  # the mapper has got it, too
    finally:
        saved = _stop(mapper)
    if not saved or not map_path.exists():
        raise InputError(f'no map was saved at {map_path}; the lines of the mapper above say why')
    _say_next(output, proposal)


def _mapper_command(proposal: Proposal, output: Path) -> list[str]:
    remapped = {'image': proposal.image, 'camera_info': proposal.camera_info,
                'odometry': proposal.odometry}
    return [sys.executable, '-m', 'seqnet_ros.nodes', 'mapper', '--ros-args',
            '--params-file', str(output / 'mapper.yaml'),
            *(word for name, topic in remapped.items() if topic
              for word in ('-r', f'{name}:={topic}'))]


def _check_mapper(mapper: subprocess.Popen, seconds: float) -> None:
    """Wait for images and places; return as soon as both were seen.

    Raises:
        InputError: no image arrives, or no image becomes a place.
    """
    deadline = time.monotonic() + seconds + 20  # it loads its model first
    values: dict[str, str] = {}
    while time.monotonic() < deadline:
        if mapper.poll() is not None:
            raise InputError('the mapper ended; its lines above say why')
        values = _survey('report', 'mapper', 2.0)
        if _count(values, 'images received') and _count(values, 'map places') > 1:
            results.print(f'images arrive ({_count(values, "images received")}), and '
                          f'{_count(values, "map places")} places were made', highlight=False)
            return
    if not _count(values, 'images received'):
        raise InputError('no image arrived at the mapper: '
                         f'{values.get("message") or "it reported nothing"}')
    if _count(values, 'map places'):
        results.print('images arrive, and the first place was made; further ones need motion',
                      highlight=False)
        return
    raise InputError(f'{_count(values, "images received")} images arrived, but none became a '
                     f'place: {values.get("message", "")}')


def _count(values: dict[str, str], key: str) -> int:
    text = values.get(key, '0')
    return int(float(text)) if text.replace('.', '', 1).isdigit() else 0


def _stop(mapper: subprocess.Popen) -> bool:
    """End the mapper, which saves its map; return whether it ended as it should."""
    if mapper.poll() is None:
        mapper.send_signal(signal.SIGINT)
    try:
        return mapper.wait(_STOP_S) == 0
    except subprocess.TimeoutExpired:
        mapper.kill()
        return False
