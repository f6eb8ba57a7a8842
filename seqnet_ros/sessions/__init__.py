"""Drives that have poses in frames of their own, brought into the frame of a map."""
