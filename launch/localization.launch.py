"""Find the camera in a map: start the localizer, and RViz on request.

Example::

    ros2 launch seqnet_ros localization.launch.py map:=$HOME/site.map image_topic:=/camera/image_raw
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node

from seqnet_ros.nodes.launch_arguments import (
    given_parameters,
    image_arguments,
    image_parameters,
    value_of,
)
from seqnet_ros.nodes.launch_nodes import (
    CONFIG,
    camera_advice,
    ending_together,
    package_node,
    rviz_nodes,
)

SHOWN_TOPICS = ('/localizer/map_markers', '/localizer/markers', '/localizer/belief',
                '/localizer/debug_image', '/localizer/pose')
"""Topics shown by the RViz layout."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch --show-args`` lists them."""
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([CONFIG, 'localizer.yaml']),
            description='YAML file with parameters of the node.'),
        DeclareLaunchArgument(
            'model', default_value='',
            description='Name of a model, or its YAML file; default: as in params_file.'),
        DeclareLaunchArgument(
            'map', default_value='',
            description='Directory of the map to search, or folder of a collection; default: as in '
                        'params_file.'),
        DeclareLaunchArgument(
            'grids', default_value='',
            description="With a collection: 'TILE=FILE' joined by ',', the grids that Nav2's map "
                        "server is to load; default: none."),
        DeclareLaunchArgument(
            'map_server', default_value='map_server',
            description="Name of Nav2's map server, for grids."),
        DeclareLaunchArgument(
            'image_topic', default_value='image',
            description='Topic of the camera, without /compressed.'),
        DeclareLaunchArgument(
            'camera_info_topic', default_value='camera_info',
            description='Topic of its calibration, for geometric checks.'),
        DeclareLaunchArgument(
            'odometry_topic', default_value='odometry', description='Topic of the odometry.'),
        DeclareLaunchArgument(
            'pose_topic', default_value='~/pose', description='Topic of accepted poses.'),
        DeclareLaunchArgument(
            'publish_initial_pose', default_value='', choices=['', 'true', 'false'],
            description='Publish the first accepted pose for another localizer; default: as in '
                        'params_file.'),
        DeclareLaunchArgument(
            'initial_pose_topic', default_value='initialpose',
            description='Topic of the initial pose.'),
        DeclareLaunchArgument(
            'publish_tf', default_value='', choices=['', 'true', 'false'],
            description='Publish map -> odom on /tf; default: as in params_file.'),
        DeclareLaunchArgument(
            'autostart', default_value='true', choices=['true', 'false'],
            description='Configure and activate the node at start.'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=['true', 'false'],
            description="Show the node's images and results in RViz."),
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
    """Return localizer, bridge and RViz; called when the arguments have their values."""
    localizer = package_node(
        context, 'localizer', takes_images=True,
        parameters=[LaunchConfiguration('params_file'), {
            'use_sim_time': LaunchConfiguration('use_sim_time'),
            'autostart': LaunchConfiguration('autostart'),
            **given_parameters(
                context, model=str, map=str, publish_initial_pose=bool, publish_tf=bool),
            **image_parameters(context),
        }],
        remappings=[
            ('image', LaunchConfiguration('image_topic')),
            ('camera_info', LaunchConfiguration('camera_info_topic')),
            ('odometry', LaunchConfiguration('odometry_topic')),
            ('~/pose', LaunchConfiguration('pose_topic')),
            ('initialpose', LaunchConfiguration('initial_pose_topic')),
        ])
    rviz = rviz_nodes(context, 'localization.rviz', SHOWN_TOPICS)
    return [*camera_advice(context),
            *ending_together(context, [localizer, *map_server_bridge(context), *rviz])]


def map_server_bridge(context: LaunchContext) -> list[Node]:
    """Return the bridge to Nav2's map server, where ``grids`` are given."""
    if not value_of(context, 'grids'):
        return []
    return [package_node(
        context, 'map_server_bridge',
        parameters=[PathJoinSubstitution([CONFIG, 'map_server_bridge.yaml']), {
            'use_sim_time': LaunchConfiguration('use_sim_time'),
            **given_parameters(context, grids=str)}],
        remappings=[('tile', 'localizer/tile'),
                    ('map_server/load_map', f"{value_of(context, 'map_server')}/load_map")])]
