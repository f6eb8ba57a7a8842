"""The command ``seqnet_ros``: maps, offline localizing, descriptors and bags."""
