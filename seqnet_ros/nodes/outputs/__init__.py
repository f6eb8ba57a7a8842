"""Outputs of the nodes: covariances, transforms, markers, debug images."""
