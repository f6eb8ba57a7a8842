"""``seqnet_ros models``: list models, and make new ones."""
