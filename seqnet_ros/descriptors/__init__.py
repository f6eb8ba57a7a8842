"""From an image to a vector: trunks, poolings, HOG, patch normalisation, trained weights."""
