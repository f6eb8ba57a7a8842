"""Common parts of all layers: errors, files, images, poses, cameras."""
