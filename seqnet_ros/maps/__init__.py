"""The map of places: made, kept on disk, searched."""

import seqnet_ros.pydantic_version  # noqa: F401
