"""``seqnet_ros dataset prepare``: the public data that JIST trains and tests on."""
