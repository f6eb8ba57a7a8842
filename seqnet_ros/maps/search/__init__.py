"""Search in a map: sequence descriptors first, then frame by frame."""
