"""The map of places: made, kept on disk, searched."""
