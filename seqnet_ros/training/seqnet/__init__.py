"""Training SeqNet, its runs and its data sets."""
