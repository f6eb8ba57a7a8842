"""Geometric verification of a match."""
