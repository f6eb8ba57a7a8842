"""The soak test: a node for a long time, with everything that can happen to it on a robot."""
