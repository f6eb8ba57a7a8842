"""Acceptance: threshold, margin and agreement."""
