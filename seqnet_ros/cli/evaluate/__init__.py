"""``seqnet_ros evaluate``: measure how well places are recognised."""
