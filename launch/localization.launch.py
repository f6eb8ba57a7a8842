"""Find the camera in a map: start the localizer."""

from launch import LaunchDescription

from seqnet_ros.nodes.launching import describe_localization


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` runs; ``--show-args`` lists the arguments."""
    return describe_localization()
