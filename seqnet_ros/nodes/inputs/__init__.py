"""Inputs of the nodes: images, calibration, odometry."""
