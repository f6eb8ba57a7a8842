"""Training and its files."""
