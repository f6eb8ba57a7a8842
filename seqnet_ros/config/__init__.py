"""What can be set: models, and how the engine works with them."""

from seqnet_ros.config.model import *  # noqa: F403
