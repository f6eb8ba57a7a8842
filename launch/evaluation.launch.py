"""Evaluate a localizer while the robot drives: start the evaluator beside it.

Example::

    ros2 launch seqnet_ros evaluation.launch.py map:=$HOME/site.map truth_topic:=/gps/odometry
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution

from seqnet_ros.nodes.launch_arguments import given_parameters
from seqnet_ros.nodes.launch_nodes import CONFIG, ending_together, package_node


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch --show-args`` lists them."""
    return LaunchDescription([
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([CONFIG, 'evaluator.yaml']),
            description='YAML file with parameters of the node.'),
        DeclareLaunchArgument(
            'map', default_value='',
            description='Directory of the map that the localizer searches; default: as in '
                        'params_file.'),
        DeclareLaunchArgument(
            'match_topic', default_value='localizer/place_match',
            description="Topic of the localizer's matches."),
        DeclareLaunchArgument(
            'truth_topic', default_value='truth',
            description='Topic of the true poses, in the frame of the map.'),
        DeclareLaunchArgument(
            'truth_type', default_value='',
            choices=['', 'odometry', 'pose', 'pose_with_covariance'],
            description='Type of the true poses; default: as in params_file.'),
        DeclareLaunchArgument(
            'tolerance_m', default_value='',
            description='A place is correct within this distance of the ground truth, m; default: '
                        'as in params_file.'),
        DeclareLaunchArgument(
            'tolerance_deg', default_value='',
            description='And within this angle, degrees; default: as in params_file.'),
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
        DeclareLaunchArgument(
            'respawn', default_value='false', choices=['true', 'false'],
            description='Start the node again when it ends, instead of ending the launch.'),
        OpaqueFunction(function=start_nodes),
    ])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the evaluator; called when the arguments have their values."""
    evaluator = package_node(
        context, 'evaluator',
        parameters=[LaunchConfiguration('params_file'), {
            'use_sim_time': LaunchConfiguration('use_sim_time'),
            **given_parameters(
                context, map=str, truth_type=str, tolerance_m=float, tolerance_deg=float),
        }],
        remappings=[
            ('place_match', LaunchConfiguration('match_topic')),
            ('truth', LaunchConfiguration('truth_topic')),
        ])
    return ending_together(context, [evaluator])
