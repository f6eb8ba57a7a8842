"""What can be set: models, and how the engine works with them."""

import seqnet_ros.pydantic_version  # noqa: F401
