"""Error that ends the demo."""


class DemoError(Exception):
    """The robot was not found, or something else went wrong; the message is for the user."""
