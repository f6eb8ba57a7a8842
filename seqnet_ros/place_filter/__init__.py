"""A recursive filter over places: where the robot is, or that it is off the map."""
