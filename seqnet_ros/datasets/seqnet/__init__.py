"""The data sets of the SeqNet papers."""
