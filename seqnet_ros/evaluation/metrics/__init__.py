"""Metrics of a search and of a localizer, given the ground truth."""
