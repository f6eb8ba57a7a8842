"""Error that ends a soak run."""


class SoakError(Exception):
    """The node ended, or does not answer."""
