"""Training JIST: images and sequences of them together."""
