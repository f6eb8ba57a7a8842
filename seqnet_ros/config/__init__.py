"""What can be set: models, and how the engine works with them."""
