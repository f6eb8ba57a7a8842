"""Judge a localizer while the robot drives: start the evaluator."""

from launch import LaunchDescription

from seqnet_ros.nodes.launching import describe_evaluation


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` runs; ``--show-args`` lists the arguments."""
    return describe_evaluation()
