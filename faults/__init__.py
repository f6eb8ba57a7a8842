"""Fault campaign: everything that can happen to a user's files, in numbers."""
