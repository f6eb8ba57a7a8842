"""Close loops beside a SLAM system: start the loop closer, and the bridge to that system.

Example::

    ros2 launch seqnet_ros slam_loop_closure.launch.py slam:=rtabmap image_topic:=/camera/image_raw
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

SHOWN_TOPICS = ('/loop_closer/markers', '/loop_closer/debug_image')
"""Topics shown by the RViz layout."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch --show-args`` lists them."""
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([CONFIG, 'loop_closer.yaml']),
            description='YAML file with parameters of the node.'),
        DeclareLaunchArgument(
            'model', default_value='',
            description='Name of a model, or its YAML file; default: as in params_file.'),
        DeclareLaunchArgument(
            'map', default_value='',
            description='Directory of the map to write when saving; default: as in params_file.'),
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
            'slam', default_value='none', choices=['none', 'rtabmap', 'pose_graph'],
            description='Start the bridge that forwards loop closures to rtabmap, or to systems '
                        'that read a pose_graph.'),
        DeclareLaunchArgument(
            'bridge_params_file', default_value='',
            description="YAML file with parameters of the bridge; default: the package's."),
        DeclareLaunchArgument(
            'rtabmap_namespace', default_value='/rtabmap',
            description='Namespace of the rtabmap node, which must be named rtabmap.'),
        DeclareLaunchArgument(
            'pose_graph_topic', default_value='~/pose_graph',
            description='Topic on which pose_graph_bridge publishes edges.'),
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
    """Return loop closer, bridge and RViz; called when the arguments have their values."""
    loop_closer = package_node(
        context, 'loop_closer', takes_images=True, saves_map=True,
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
    rviz = rviz_nodes(context, 'loop_closure.rviz', SHOWN_TOPICS)
    return [*camera_advice(context),
            *ending_together(context, [loop_closer, *bridges(context), *rviz])]


def bridges(context: LaunchContext) -> list[Node]:
    """Return the bridge to the SLAM system that ``slam`` names."""
    slam = value_of(context, 'slam')
    if slam == 'rtabmap':
        rtabmap = value_of(context, 'rtabmap_namespace').rstrip('/')
        return [bridge(context, 'rtabmap_bridge', [
            ('odometry', LaunchConfiguration('odometry_topic')),
            *((topic, f'{rtabmap}/{topic}') for topic in ('info', 'mapGraph', 'global_pose')),
            ('add_link', f'{rtabmap}/rtabmap/add_link')])]
    if slam == 'pose_graph':
        return [bridge(context, 'pose_graph_bridge', [
            ('~/pose_graph', LaunchConfiguration('pose_graph_topic'))])]
    return []


def bridge(context: LaunchContext, name: str,
           remappings: list[tuple[str, LaunchConfiguration | str]]) -> Node:
    """Return the node that forwards the loop closer's reports to a SLAM system."""
    own_file = PathJoinSubstitution([CONFIG, f'{name}.yaml'])
    return package_node(
        context, name,
        parameters=[value_of(context, 'bridge_params_file') or own_file,
                    {'use_sim_time': LaunchConfiguration('use_sim_time')}],
        remappings=[
            ('loop_closure', 'loop_closer/loop_closure'),
            ('rejected_loop_closure', 'loop_closer/rejected_loop_closure'),
            *remappings,
        ])
