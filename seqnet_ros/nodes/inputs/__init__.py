"""What nodes take in: images of cameras, their calibration, odometry."""
