"""Make a map of what the camera sees: start the mapper."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

EXECUTABLE = 'mapper'


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    default_params = PathJoinSubstitution(
        [FindPackageShare('seqnet_ros'), 'config', f'{EXECUTABLE}.yaml'])
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument('params_file', default_value=default_params,
                              description='YAML file with parameters of the node.'),
        DeclareLaunchArgument('model', default_value='',
                              description='Name of a model, or its YAML file; empty: as in '
                                          'params_file.'),
        DeclareLaunchArgument('map', default_value='',
                              description='Directory of the map to write; empty: as in '
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
        OpaqueFunction(function=start_node),
    ])


def start_node(context: LaunchContext) -> list[Node]:
    """Return the node; an argument left empty does not override the parameter file."""
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    overrides: dict[str, bool | ParameterValue] = {
        name: value(name) == 'true' for name in ('use_sim_time', 'autostart')}
    overrides.update({name: ParameterValue(value(name), value_type=str)
                      for name in ('model', 'map') if value(name)})
    return [Node(
        package='seqnet_ros',
        executable=EXECUTABLE,
        name=EXECUTABLE,
        namespace=value('namespace'),
        parameters=[value('params_file'), overrides],
        remappings=[('image', value('image_topic')), ('odometry', value('odometry_topic'))],
        arguments=['--ros-args', '--log-level', value('log_level')],
        output='screen',
    )]
