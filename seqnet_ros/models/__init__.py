"""Models: found by name or path, and ready to run."""
