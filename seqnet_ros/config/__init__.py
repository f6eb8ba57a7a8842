"""Configuration of models and of the engine."""

import seqnet_ros.pydantic_version  # noqa: F401
