"""Make a map of what the camera sees: start the mapper."""

from launch import LaunchDescription

from seqnet_ros.nodes.launching import describe_mapping


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` runs; ``--show-args`` lists the arguments."""
    return describe_mapping()
