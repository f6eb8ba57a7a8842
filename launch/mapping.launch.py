"""Make a map of what the camera sees: start the mapper.

Example::

    ros2 launch seqnet_ros mapping.launch.py map:=$HOME/site.map image_topic:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution

from seqnet_ros.nodes.launch_arguments import given_parameters, image_arguments, image_parameters
from seqnet_ros.nodes.launch_nodes import CONFIG, camera_advice, ending_together, package_node


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch --show-args`` lists them."""
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([CONFIG, 'mapper.yaml']),
            description='YAML file with parameters of the node.'),
        DeclareLaunchArgument(
            'model', default_value='',
            description='Name of a model, or its YAML file; default: as in params_file.'),
        DeclareLaunchArgument(
            'map', default_value='',
            description='Directory of the map to write; default: as in params_file.'),
        DeclareLaunchArgument(
            'image_topic', default_value='image',
            description='Topic of the camera, without /compressed.'),
        DeclareLaunchArgument(
            'camera_info_topic', default_value='camera_info',
            description='Topic of its calibration, for geometric checks.'),
        DeclareLaunchArgument(
            'odometry_topic', default_value='odometry', description='Topic of the odometry.'),
        DeclareLaunchArgument(
            'autostart', default_value='true', choices=['true', 'false'],
            description='Configure and activate the node at start.'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', choices=['true', 'false'],
            description='Use the time from /clock.'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Lowest severity to log.'),
        DeclareLaunchArgument(
            'enclaves', default_value='',
            description='Path of the SROS2 enclaves, each named after its node, such as '
                        '/seqnet_ros; default: none.'),
        *image_arguments(),
        OpaqueFunction(function=start_nodes),
    ])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the mapper; called when the arguments have their values."""
    mapper = package_node(
        context, 'mapper', takes_images=True, saves_map=True,
        parameters=[LaunchConfiguration('params_file'), {
            'use_sim_time': LaunchConfiguration('use_sim_time'),
            'autostart': LaunchConfiguration('autostart'),
            **given_parameters(context, model=str, map=str), **image_parameters(context),
        }],
        remappings=[
            ('image', LaunchConfiguration('image_topic')),
            ('camera_info', LaunchConfiguration('camera_info_topic')),
            ('odometry', LaunchConfiguration('odometry_topic')),
        ])
    return [*camera_advice(context), *ending_together(context, [mapper])]
