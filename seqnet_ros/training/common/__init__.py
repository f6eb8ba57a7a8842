"""Common parts of all trainings."""
