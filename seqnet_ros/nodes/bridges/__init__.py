"""Nodes that hand loops and poses to other systems, where the messages of those are installed."""
