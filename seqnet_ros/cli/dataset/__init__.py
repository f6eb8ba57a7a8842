"""``seqnet_ros dataset``: data for evaluation and training."""
