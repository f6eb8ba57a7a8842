"""What the launch files have in common; importable where ROS's ``launch`` is installed."""

from collections.abc import Mapping, Sequence

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


def describe_launch(executable: str, map_purpose: str) -> LaunchDescription:
    """Declare the arguments of a node and start it.

    Args:
        executable: 'localizer', 'mapper' or 'loop_closer'; its parameter file has the same name.
        map_purpose: what the argument `map` is for.
    """
    return LaunchDescription([
        *node_arguments(executable, map_purpose),
        OpaqueFunction(function=_start, args=[executable]),
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
        DeclareLaunchArgument('rviz', default_value='true', choices=_BOOLEANS,
                              description='Show map, matches and images in RViz.'),
        OpaqueFunction(function=_start, args=['localizer']),
        OpaqueFunction(function=_play),
        OpaqueFunction(function=_show),
    ])


def node_arguments(executable: str, map_purpose: str,
                   use_sim_time: str = 'false') -> list[DeclareLaunchArgument]:
    """Return the arguments that every launch file of a node has."""
    default_params = PathJoinSubstitution(
        [FindPackageShare('seqnet_ros'), 'config', f'{executable}.yaml'])
    return [
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument('params_file', default_value=default_params,
                              description='YAML file with parameters of the node.'),
        DeclareLaunchArgument('model', default_value='',
                              description='Name of a model, or its YAML file; '
                                          + _LEFT_TO_THE_FILE),
        DeclareLaunchArgument('map', default_value='',
                              description=f'Directory of the map {map_purpose}; '
                                          + _LEFT_TO_THE_FILE),
        DeclareLaunchArgument('image_topic', default_value='image',
                              description='Topic of the camera, without /compressed.'),
        DeclareLaunchArgument('camera_info_topic', default_value='camera_info',
                              description='Topic of its calibration, for geometric checks.'),
        DeclareLaunchArgument('odometry_topic', default_value='odometry',
                              description='Topic of the odometry.'),
        DeclareLaunchArgument('use_sim_time', default_value=use_sim_time, choices=_BOOLEANS,
                              description='Take the time from /clock.'),
        DeclareLaunchArgument('autostart', default_value='true', choices=_BOOLEANS,
                              description='Configure and activate the node at start.'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Lowest severity that is logged.'),
    ]


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
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    overrides: dict[str, bool | str | ParameterValue] = {
        name: value(name) == 'true' for name in ('use_sim_time', 'autostart')}
    overrides.update({name: ParameterValue(value(name), value_type=str)
                      for name in _OVERRIDES if value(name)})
    overrides.update(parameters or {})
    inputs = [(name, value(f'{name}_topic')) for name in ('image', 'camera_info', 'odometry')]
    return Node(
        package='seqnet_ros',
        executable=executable,
        name=executable,
        namespace=value('namespace'),
        parameters=[value('params_file'), overrides],
        remappings=[*inputs, *remappings],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen',
    )


def _start(context: LaunchContext, executable: str) -> list[Node]:
    return [make_node(context, executable)]


def _play(context: LaunchContext) -> list[TimerAction | RegisterEventHandler]:
    """Return the replay of the bag, after a while, and what ends all when the bag ends."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    command = ['ros2', 'bag', 'play', value('bag'), '--clock', '--rate', value('rate')]
    if value('loop') == 'true':
        command.append('--loop')
    player = ExecuteProcess(cmd=command, output='screen')
    ended = OnProcessExit(target_action=player,
                          on_exit=[EmitEvent(event=Shutdown(reason='the bag has ended'))])
    return [TimerAction(period=float(value('bag_delay')), actions=[player]),
            RegisterEventHandler(ended)]


def _show(context: LaunchContext) -> list[Node]:
    if LaunchConfiguration('rviz').perform(context) != 'true':
        return []
    layout = PathJoinSubstitution([FindPackageShare('seqnet_ros'), 'config', 'localization.rviz'])
    return [Node(package='rviz2', executable='rviz2', name='rviz2', output='screen',
                 arguments=['-d', layout], parameters=[{
                     'use_sim_time': LaunchConfiguration('use_sim_time')}])]
