"""Find a recorded drive in a map: start the localizer, play a bag, show it in RViz.

Takes the arguments of localization.launch.py, too. The bag starts when the localizer is active, and
everything ends with the bag. The status is not 0 where the localizer did not become active, or
processed no image.

Example::

    ros2 launch seqnet_ros replay.launch.py bag:=drive map:=$HOME/site.map
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource

from seqnet_ros.nodes.launch_arguments import typed
from seqnet_ros.nodes.launch_nodes import ending_together, package_node, require_executable

LOCALIZATION = Path(__file__).with_name('localization.launch.py')


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; ``ros2 launch --show-args`` lists them."""
    return LaunchDescription([
        DeclareLaunchArgument('bag', description='Bag to play.'),
        DeclareLaunchArgument('rate', default_value='1.0', description='Speed of the replay.'),
        DeclareLaunchArgument(
            'loop', default_value='false', choices=['true', 'false'],
            description='Play the bag in a loop.'),
        DeclareLaunchArgument(
            'patience_s', default_value='120.0',
            description='Maximum time until the localizer is active, s.'),
        # Defaults that differ from those of the localization.
        DeclareLaunchArgument(
            'use_sim_time', default_value='true', choices=['true', 'false'],
            description='Use the time from /clock.'),
        DeclareLaunchArgument(
            'rviz', default_value='true', choices=['true', 'false'],
            description="Show the node's images and results in RViz."),
        OpaqueFunction(function=check_player),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(LOCALIZATION))),
        OpaqueFunction(function=play_bag),
    ])


def check_player(_: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check that the bag can be played before the localizer is started."""
    require_executable('seqnet_ros', 'bag_player')
    return []


def play_bag(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the player, and what ends the launch with it."""
    player = package_node(context, 'bag_player', parameters=[{
        'bag': typed('bag', str), 'rate': typed('rate', float), 'loop': typed('loop', bool),
        'patience_s': typed('patience_s', float)}], respawning=False)
    return ending_together(context, [player], respawning=False)
