"""Settings of a map on a server: which of its tiles a robot takes, and how it reaches them."""

from pydantic import Field

from seqnet_ros.config.settings import Settings


class FleetConfig(Settings):
    """How a robot uses a map of a fleet."""

    store: str = Field(
        '', description='Folder or https address with the archives of the tiles, which `map push` '
                        'wrote there.')
    region: str = Field(
        '', description="Only tiles in this region: 'xy:X,Y,X,Y' in the frame of the map, m, or "
                        "'geo:LAT,LON,LAT,LON' in degrees, two opposite corners; '' for all.")
    session: str = Field('', description="Only tiles of this session; '' for all.")
    cache: str = Field(
        '', description="Folder for copies of tiles; '' is seqnet_ros/fleet in the user's cache.")
    cache_mb: int = Field(
        20_000, ge=1, le=100_000_000,
        description='Size of the copies, at most, MB; the least recently used are removed, those '
                    'in use stay.')
    timeout_s: float = Field(
        1.0, ge=0.05, le=60,
        description='How long an image waits for an answer of the server, at most, s.')
    check_every_s: float = Field(
        5.0, ge=0.1, le=3600,
        description='How often the server is asked whether it is there and has newer tiles, s.')
