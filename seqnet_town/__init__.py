"""A rendered town: drives with exact poses for tests, demonstrations and training.

``Drive(Town(seed=7), DUSK, lateral_offset=0.8, speed=7.0, seed=2)`` is a `FrameSource`; the town
is the same for every drive, everything else follows from the drive's own arguments.
"""

from seqnet_town.camera import Camera
from seqnet_town.conditions import (
    AUTUMN,
    CONDITIONS,
    DAY,
    DUSK,
    NIGHT,
    OVERCAST,
    RAIN,
    WINTER,
    Condition,
)
from seqnet_town.drives import Drive
from seqnet_town.objects import CarPose
from seqnet_town.renderer import Renderer
from seqnet_town.world import Town

__all__ = ['AUTUMN', 'CONDITIONS', 'DAY', 'DUSK', 'NIGHT', 'OVERCAST', 'RAIN', 'WINTER', 'Camera',
           'CarPose', 'Condition', 'Drive', 'Renderer', 'Town']
