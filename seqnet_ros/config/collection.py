"""Settings of a collection of maps: how many of its tiles are open and searched."""

from pydantic import Field

from seqnet_ros.config.settings import Settings


class CollectionConfig(Settings):
    """Which tiles of a collection are open and searched."""

    open_tiles: int = Field(
        6, ge=1, le=10_000,
        description='Tiles that are open, at most; the least recently used is closed.')
    open_mb: int = Field(
        65_536, ge=1, le=10**9,
        description='Size of the maps that are open, at most, MB; those in use stay open.')
    used_tiles: int = Field(
        4, ge=1, le=100, description='Tiles that are searched at the same time, at most.')
    reach_m: float = Field(
        50.0, ge=0, le=1e6,
        description='A tile is searched once the robot is this near to it, and opened at twice '
                    'this distance, m.')
    prior_radius_m: float = Field(
        50.0, ge=0, le=1e6,
        description='Distance that is added to the uncertainty of a position from outside, m.')
    lost_after: int = Field(
        10, ge=1, le=100_000,
        description='Keyframes without an accepted match after which all tiles are considered.')
    choose_every: int = Field(
        8, ge=1, le=100_000,
        description='Keyframes between two searches of all tiles, while the robot is lost.')
