"""Trainings, each in a package of its own, and what they share."""

import seqnet_ros.pydantic_version  # noqa: F401
