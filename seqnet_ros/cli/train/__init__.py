"""``seqnet_ros train``: train networks that describe images and sequences."""
