"""What the launch files have in common; importable where ROS's ``launch`` is installed."""

from collections.abc import Mapping, Sequence
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

_BOOLEANS = ['true', 'false']
_OVERRIDES = ('model', 'map')
_LEFT_TO_THE_FILE = 'empty: as in params_file.'
_SHOWN = {'localizer': ('map_markers', 'markers', 'debug_image', 'pose'),
          'loop_closer': ('markers', 'debug_image')}
"""What the layouts of RViz show of a node."""
_LAYOUTS = {'localizer': 'localization.rviz', 'loop_closer': 'loop_closure.rviz'}
_BRIDGES = {'rtabmap': 'rtabmap_bridge', 'pose_graph': 'pose_graph_bridge'}
"""What the argument slam starts."""


def describe_mapping() -> LaunchDescription:
    """Declare the arguments of the mapper and start it."""
    return LaunchDescription([
        *node_arguments('mapper', 'to write'),
        OpaqueFunction(function=_start, args=['mapper']),
    ])


def describe_localization() -> LaunchDescription:
    """Declare the arguments of the localizer and start it, and RViz where it is asked for."""
    return LaunchDescription([
        *node_arguments('localizer', 'to search'),
        *_pose_arguments(),
        _rviz_argument('false'),
        OpaqueFunction(function=_start_localizer),
        OpaqueFunction(function=_show, args=['localizer']),
    ])


def describe_loop_closure() -> LaunchDescription:
    """Declare the arguments of the loop closer and start it, and the bridge that is asked for."""
    return LaunchDescription([
        *node_arguments('loop_closer', 'to write when saving'),
        DeclareLaunchArgument('slam', default_value='none', choices=['none', *_BRIDGES],
                              description='Start the bridge that hands loop closures on to '
                                          'rtabmap, or to systems that take a pose_graph.'),
        DeclareLaunchArgument('bridge_params_file', default_value='',
                              description='YAML file with parameters of the bridge; empty: the '
                                          "package's."),
        DeclareLaunchArgument('rtabmap_namespace', default_value='/rtabmap',
                              description='Namespace of rtabmap, whose node is named rtabmap.'),
        DeclareLaunchArgument('pose_graph_topic', default_value='~/pose_graph',
                              description='Topic of the edges of pose_graph_bridge.'),
        _rviz_argument('false'),
        OpaqueFunction(function=_start, args=['loop_closer']),
        OpaqueFunction(function=_start_bridge),
        OpaqueFunction(function=_show, args=['loop_closer']),
    ])


def describe_replay() -> LaunchDescription:
    """Declare the arguments of a replay: a bag, the localizer, and RViz where it is asked for.

    All ends with the bag.
    """
    return LaunchDescription([
        *node_arguments('localizer', 'to search', use_sim_time='true'),
        DeclareLaunchArgument('bag', description='Bag to play.'),
        DeclareLaunchArgument('rate', default_value='1.0', description='Speed of the replay.'),
        DeclareLaunchArgument('loop', default_value='false', choices=_BOOLEANS,
                              description='Play the bag over and over.'),
        DeclareLaunchArgument('bag_delay', default_value='3.0',
                              description='Time for the node to load before the bag starts, s.'),
        *_pose_arguments(),
        _rviz_argument('true'),
        OpaqueFunction(function=_start_localizer),
        OpaqueFunction(function=_play),
        OpaqueFunction(function=_show, args=['localizer']),
    ])


def describe_evaluation() -> LaunchDescription:
    """Declare the arguments of the evaluator and start it, beside a localizer that runs."""
    return LaunchDescription([
        *_plain_arguments('evaluator'),
        _map_argument('that the localizer searches'),
        DeclareLaunchArgument('match_topic', default_value='localizer/place_match',
                              description='Topic of what the localizer finds.'),
        DeclareLaunchArgument('truth_topic', default_value='truth',
                              description='Topic of the true poses, in the frame of the map.'),
        DeclareLaunchArgument('truth_type', default_value='',
                              choices=['', 'odometry', 'pose', 'pose_with_covariance'],
                              description='Type of the true poses; ' + _LEFT_TO_THE_FILE),
        DeclareLaunchArgument('tolerance_m', default_value='',
                              description='A place is right within this distance of the truth, m; '
                                          + _LEFT_TO_THE_FILE),
        DeclareLaunchArgument('tolerance_deg', default_value='',
                              description='And when turned by no more than this, degrees; '
                                          + _LEFT_TO_THE_FILE),
        OpaqueFunction(function=_start_evaluator),
    ])


def _plain_arguments(executable: str, use_sim_time: str = 'false') -> list[DeclareLaunchArgument]:
    """Return the arguments that the launch file of any node has."""
    return [
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument('params_file', default_value=_configured(f'{executable}.yaml'),
                              description='YAML file with parameters of the node.'),
        DeclareLaunchArgument('use_sim_time', default_value=use_sim_time, choices=_BOOLEANS,
                              description='Take the time from /clock.'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Lowest severity that is logged.'),
        DeclareLaunchArgument('enclaves', default_value='',
                              description='Path of the SROS2 enclaves, each named as its node, '
                                          'such as /seqnet_ros; empty: none.'),
    ]


def _map_argument(purpose: str) -> DeclareLaunchArgument:
    return DeclareLaunchArgument('map', default_value='',
                                 description=f'Directory of the map {purpose}; '
                                             + _LEFT_TO_THE_FILE)


def node_arguments(executable: str, map_purpose: str,
                   use_sim_time: str = 'false') -> list[DeclareLaunchArgument]:
    """Return the arguments that every launch file of a node with a camera has."""
    return [
        *_plain_arguments(executable, use_sim_time),
        DeclareLaunchArgument('model', default_value='',
                              description='Name of a model, or its YAML file; '
                                          + _LEFT_TO_THE_FILE),
        _map_argument(map_purpose),
        DeclareLaunchArgument('image_topic', default_value='image',
                              description='Topic of the camera, without /compressed.'),
        DeclareLaunchArgument('camera_info_topic', default_value='camera_info',
                              description='Topic of its calibration, for geometric checks.'),
        DeclareLaunchArgument('odometry_topic', default_value='odometry',
                              description='Topic of the odometry.'),
        DeclareLaunchArgument('autostart', default_value='true', choices=_BOOLEANS,
                              description='Configure and activate the node at start.'),
    ]


def _pose_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments about the poses that the localizer hands on."""
    return [
        DeclareLaunchArgument('pose_topic', default_value='~/pose',
                              description='Topic of accepted poses.'),
        DeclareLaunchArgument('publish_initial_pose', default_value='',
                              choices=['', *_BOOLEANS],
                              description='Hand the first accepted pose to another localizer; '
                                          + _LEFT_TO_THE_FILE),
        DeclareLaunchArgument('initial_pose_topic', default_value='initialpose',
                              description='Topic of that first pose.'),
    ]


def _rviz_argument(default: str) -> DeclareLaunchArgument:
    return DeclareLaunchArgument('rviz', default_value=default, choices=_BOOLEANS,
                                 description='Show what the node sees and finds in RViz.')


def make_node(context: LaunchContext, executable: str,
              remappings: Sequence[tuple[str, str]] = (),
              parameters: Mapping[str, bool | str] | None = None) -> Node:
    """Return a node that follows the arguments of `node_arguments`.

    An argument left empty does not override the parameter file.

    Args:
        context: of the launch.
        executable: which node.
        remappings: of its outputs.
        parameters: further ones, over those of the file.
    """
    overrides: dict[str, bool | str | ParameterValue] = {
        'autostart': _value(context, 'autostart') == 'true'}
    overrides.update({name: ParameterValue(_value(context, name), value_type=str)
                      for name in _OVERRIDES if _value(context, name)})
    overrides.update(parameters or {})
    inputs = [(name, _value(context, f'{name}_topic'))
              for name in ('image', 'camera_info', 'odometry')]
    return _make_plain_node(context, executable, _value(context, 'params_file'), overrides,
                            [*inputs, *remappings])


def _make_plain_node(
        context: LaunchContext, executable: str, params_file: str | PathJoinSubstitution,
        overrides: Mapping[str, bool | float | str | ParameterValue],
        remappings: Sequence[tuple[str, str]]) -> Node:
    """Return a node that follows the arguments that all nodes of a launch file share."""
    parameters: Any = {
        'use_sim_time': _value(context, 'use_sim_time') == 'true', **overrides}
    enclaves = _value(context, 'enclaves')
    secured = ['--enclave', f'{enclaves}/{executable}'] if enclaves else []
    return Node(
        package='seqnet_ros',
        executable=executable,
        name=executable,
        namespace=_value(context, 'namespace'),
        parameters=[params_file, parameters],
        remappings=list(remappings),
        arguments=['--ros-args', '--log-level', _value(context, 'log_level'), *secured],
        output='screen',
    )


def _value(context: LaunchContext, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _configured(file: str) -> PathJoinSubstitution:
    """Return a file of the package's folder config."""
    return PathJoinSubstitution([FindPackageShare('seqnet_ros'), 'config', file])


def _start(context: LaunchContext, executable: str) -> list[Node]:
    return [make_node(context, executable)]


def _start_localizer(context: LaunchContext) -> list[Node]:
    initial = _value(context, 'publish_initial_pose')
    return [make_node(
        context, 'localizer',
        [('~/pose', _value(context, 'pose_topic')),
         ('initialpose', _value(context, 'initial_pose_topic'))],
        {'publish_initial_pose': initial == 'true'} if initial else None)]


def _start_evaluator(context: LaunchContext) -> list[Node]:
    overrides: dict[str, bool | float | str | ParameterValue] = {
        name: ParameterValue(value, value_type=str) for name in ('map', 'truth_type')
        if (value := _value(context, name))}
    overrides.update({name: float(value) for name in ('tolerance_m', 'tolerance_deg')
                      if (value := _value(context, name))})
    return [_make_plain_node(
        context, 'evaluator', _value(context, 'params_file'), overrides,
        [('place_match', _value(context, 'match_topic')),
         ('truth', _value(context, 'truth_topic'))])]


def _start_bridge(context: LaunchContext) -> list[Node]:
    """Return the bridge that the argument slam names, none where it names none."""
    bridge = _BRIDGES.get(_value(context, 'slam'))
    if bridge is None:
        return []
    rtabmap = _value(context, 'rtabmap_namespace').rstrip('/')
    return [_make_plain_node(
        context, bridge, _value(context, 'bridge_params_file') or _configured(f'{bridge}.yaml'),
        {},
        [*((topic, f'loop_closer/{topic}') for topic in ('loop_closure', 'rejected_loop_closure')),
         ('odometry', _value(context, 'odometry_topic')),
         *((topic, f'{rtabmap}/{topic}') for topic in ('info', 'mapGraph', 'global_pose')),
         ('add_link', f'{rtabmap}/rtabmap/add_link'),
         ('~/pose_graph', _value(context, 'pose_graph_topic'))])]


def _play(context: LaunchContext) -> list[TimerAction | RegisterEventHandler]:
    """Return the replay of the bag, after a while, and what ends all when the bag ends."""
    command = ['ros2', 'bag', 'play', _value(context, 'bag'), '--clock',
               '--rate', _value(context, 'rate')]
    if _value(context, 'loop') == 'true':
        command.append('--loop')
    player = ExecuteProcess(cmd=command, output='screen')
    ended = OnProcessExit(target_action=player,
                          on_exit=[EmitEvent(event=Shutdown(reason='the bag has ended'))])
    return [TimerAction(period=float(_value(context, 'bag_delay')), actions=[player]),
            RegisterEventHandler(ended)]


def _show(context: LaunchContext, executable: str) -> list[Node]:
    """Return RViz where it is asked for; its layout names topics outside any namespace."""
    if _value(context, 'rviz') != 'true':
        return []
    namespace = _value(context, 'namespace').strip('/')
    moved = [(f'/{executable}/{topic}', f'/{namespace}/{executable}/{topic}')
             for topic in _SHOWN[executable]] if namespace else []
    return [Node(package='rviz2', executable='rviz2', name='rviz2', namespace=namespace,
                 output='screen', arguments=['-d', _configured(_LAYOUTS[executable])],
                 remappings=moved,
                 parameters=[{'use_sim_time': _value(context, 'use_sim_time') == 'true'}])]
