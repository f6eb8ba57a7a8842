"""Find a recorded drive in a map: play a bag, start the localizer, show it in RViz."""

from launch import LaunchDescription

from seqnet_ros.nodes.launching import describe_replay


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` runs; ``--show-args`` lists the arguments."""
    return describe_replay()
