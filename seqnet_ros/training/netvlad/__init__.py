"""NetVLAD from images alone."""
