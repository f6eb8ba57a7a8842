"""What ends a soak run early."""


class SoakError(Exception):
    """The node ended, or does not answer."""
