"""Evaluation of the localizer on recordings."""
