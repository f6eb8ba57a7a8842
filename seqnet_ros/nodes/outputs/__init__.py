"""What nodes give out beside their results: covariances, transforms, markers, pictures."""
