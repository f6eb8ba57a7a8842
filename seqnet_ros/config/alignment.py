"""Settings of the alignment of a session with a map."""

from pydantic import Field

from seqnet_ros.config.settings import Settings


class AlignmentConfig(Settings):
    """Alignment of a drive with a map whose poses are in another frame."""

    drift: float = Field(
        0.02, gt=0, le=1,
        description='Error of the odometry of the drive, as a share of the distance.')
    min_overlap_m: float = Field(
        50.0, gt=0, le=1e6,
        description='Distance along which the drive must be found on the map, m. Where two streets '
                    'look alike, drives of different places agree for some tens of meters.')
    min_agreement: float = Field(
        0.6, gt=0, le=1,
        description='Share of the accepted matches that must agree with one another and with '
                    'odometry.')
