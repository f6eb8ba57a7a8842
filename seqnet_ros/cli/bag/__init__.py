"""``seqnet_ros bag``: write bags."""
