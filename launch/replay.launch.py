"""Find a recorded drive in a map: play a bag, start the localizer, show it in RViz.

Takes the arguments of localization.launch.py, too, and ends with the bag.

Example::

    ros2 launch seqnet_ros replay.launch.py bag:=drive map:=$HOME/site.map
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

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
            'bag_delay', default_value='3.0',
            description='Delay before the bag starts, so that the node can load, s.'),
        # Defaults that differ from those of the localization.
        DeclareLaunchArgument(
            'use_sim_time', default_value='true', choices=['true', 'false'],
            description='Use the time from /clock.'),
        DeclareLaunchArgument(
            'rviz', default_value='true', choices=['true', 'false'],
            description="Show the node's images and results in RViz."),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(LOCALIZATION))),
        OpaqueFunction(function=play_bag),
    ])


def play_bag(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the delayed player and what ends the launch with it."""
    loop = LaunchConfiguration('loop').perform(context) == 'true'
    player = ExecuteProcess(
        cmd=['ros2', 'bag', 'play', LaunchConfiguration('bag'), '--clock',
             '--rate', LaunchConfiguration('rate'), *(['--loop'] if loop else [])],
        output='screen')
    ended = OnProcessExit(
        target_action=player, on_exit=[EmitEvent(event=Shutdown(reason='the bag has ended'))])
    return [
        TimerAction(period=LaunchConfiguration('bag_delay'), actions=[player]),
        RegisterEventHandler(ended)]
