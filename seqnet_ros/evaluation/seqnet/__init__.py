"""The evaluation of the SeqNet papers."""
