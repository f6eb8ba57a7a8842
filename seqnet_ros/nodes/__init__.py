"""The ROS 2 nodes: thin front ends of the core, the only part that imports ROS."""
