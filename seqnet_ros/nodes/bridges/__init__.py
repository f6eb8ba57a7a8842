"""Nodes that forward loops and poses to other systems, if their messages are installed."""
