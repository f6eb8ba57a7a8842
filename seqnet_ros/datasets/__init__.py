"""Recordings and poses: read from files and bags, written to bags."""
