"""Close loops beside a SLAM system: start the loop closer, and what hands its loops on."""

from launch import LaunchDescription

from seqnet_ros.nodes.launching import describe_loop_closure


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` runs; ``--show-args`` lists the arguments."""
    return describe_loop_closure()
