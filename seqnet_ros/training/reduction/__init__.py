"""Shorter descriptors, fitted to images."""
