"""Frames in a row: keyframes, windows, sequence descriptors."""
