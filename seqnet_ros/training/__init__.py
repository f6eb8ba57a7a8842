"""Trainings, each in a package of its own, and what they share."""
