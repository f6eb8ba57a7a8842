"""From an image to a vector: trunks, poolings, HOG, patch normalization, trained weights."""
