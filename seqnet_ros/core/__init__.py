"""What every layer shares: errors, files, images, poses, cameras."""
