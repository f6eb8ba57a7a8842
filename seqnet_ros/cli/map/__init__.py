"""``seqnet_ros map``: make and check maps."""
