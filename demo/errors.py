"""What ends the demo early."""


class DemoError(Exception):
    """The robot was not found, or something else went wrong; the message is for the user."""
