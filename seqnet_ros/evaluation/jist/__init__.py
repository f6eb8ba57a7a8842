"""The evaluation of the JIST paper."""
