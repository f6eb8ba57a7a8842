"""Is the memory of a node flat?"""

import numpy as np

WARM_UP = 0.4
"""Share of the images before memory counts: buffers, caches and the allocator fill up."""
FEWEST_IMAGES = 3000
"""A shorter run says nothing: the pages that the allocator takes and gives back outweigh it."""
BOUND_MIB = 8.0
"""Most that may be added in 10,000 images, MiB. One image of 57 KB in 70 that is never let go adds
as much; so do 840 bytes for every image, less than a result message has."""


def slope_mib(samples: list[tuple[int, int]]) -> float | None:
    """Return how fast memory grows after the warm-up, MiB in 10,000 images.

    The median over all pairs of samples (Theil and Sen): single jumps of the allocator do not move
    it, what is lost image by image does.

    Args:
        samples: images processed and resident bytes, in the order they were taken.

    Returns:
        The slope, or None where there are too few images for one.
    """
    images, memory = np.array(samples, dtype=np.float64).reshape(-1, 2).T
    if not len(images) or images[-1] < FEWEST_IMAGES:
        return None
    counted = images >= WARM_UP * images[-1]
    images, memory = images[counted], memory[counted]
    earlier, later = np.triu_indices(len(images), 1)
    apart = images[later] - images[earlier]
    far = apart > 0
    if not far.any():
        return None
    slopes = (memory[later] - memory[earlier])[far] / apart[far]
    return float(np.median(slopes)) * 10_000 / 2**20
