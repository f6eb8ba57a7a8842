"""Recordings: image folders, videos and bags, with the poses of their images."""
