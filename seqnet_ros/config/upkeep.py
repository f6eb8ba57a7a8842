"""Settings of refreshing a map by later drives."""

from pydantic import Field

from seqnet_ros.config.settings import Settings


class UpkeepConfig(Settings):
    """How a map takes in later drives along it, and what it gives up."""

    most_views: int = Field(
        4, ge=1, le=100,
        description='Views kept of a street, each in other light or another season: as many places '
                    'per usual distance between them.')
    enough: float = Field(
        2.0, ge=0, le=20, allow_inf_nan=False,
        description='How far the best view of a place must stand out, in units in which 97.5 % of '
                    'wrong places are below 1. Where the known views stand out less, the drive is '
                    'added.')
    retire_after: int = Field(
        10, ge=1, le=100_000,
        description='Drives in a row that pass a view and match another better, after which it is '
                    'retired. One view of a street always stays.')
    stretch_m: float = Field(
        25.0, gt=0, le=1e4, allow_inf_nan=False,
        description='Length of the stretches that are added, judged and retired as one, m.')
