"""What the launch files have in common; importable where ROS's ``launch`` is installed."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def describe_launch(executable: str, map_purpose: str) -> LaunchDescription:
    """Declare the arguments of a node and start it.

    Args:
        executable: 'localizer' or 'mapper'; its parameter file has the same name.
        map_purpose: what the argument `map` is for.
    """
    default_params = PathJoinSubstitution(
        [FindPackageShare('seqnet_ros'), 'config', f'{executable}.yaml'])
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument('params_file', default_value=default_params,
                              description='YAML file with parameters of the node.'),
        DeclareLaunchArgument('model', default_value='',
                              description='Name of a model, or its YAML file; empty: as in '
                                          'params_file.'),
        DeclareLaunchArgument('map', default_value='',
                              description=f'Directory of the map {map_purpose}; empty: as in '
                                          'params_file.'),
        DeclareLaunchArgument('image_topic', default_value='image',
                              description='Topic of the camera, without /compressed.'),
        DeclareLaunchArgument('odometry_topic', default_value='odometry',
                              description='Topic of the odometry.'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='Take the time from /clock.'),
        DeclareLaunchArgument('autostart', default_value='true', choices=['true', 'false'],
                              description='Configure and activate the node at start.'),
        DeclareLaunchArgument('log_level', default_value='info',
                              choices=['debug', 'info', 'warn', 'error', 'fatal'],
                              description='Lowest severity that is logged.'),
        OpaqueFunction(function=_start_node, args=[executable]),
    ])


def _start_node(context: LaunchContext, executable: str) -> list[Node]:
    """Return the node; an argument left empty does not override the parameter file."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    overrides: dict[str, bool | ParameterValue] = {
        name: value(name) == 'true' for name in ('use_sim_time', 'autostart')}
    overrides.update({name: ParameterValue(value(name), value_type=str)
                      for name in ('model', 'map') if value(name)})
    return [Node(
        package='seqnet_ros',
        executable=executable,
        name=executable,
        namespace=value('namespace'),
        parameters=[value('params_file'), overrides],
        remappings=[('image', value('image_topic')), ('odometry', value('odometry_topic'))],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen',
    )]
