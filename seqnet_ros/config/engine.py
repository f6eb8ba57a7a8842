"""What a robot tunes: sequence length, keyframes, search, acceptance, geometric check, loops.

These settings may change between mapping and localising; descriptors stay the same.
"""

from typing import Literal

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from seqnet_ros.config.settings import Settings


class SequenceConfig(Settings):
    """How long a sequence is."""

    length: int = Field(10, ge=1, le=1000, description='Frames per sequence.')


class KeyframeConfig(Settings):
    """Which images enter the sequence buffer and the map."""

    every: str = Field(
        'auto', pattern=r'^(auto|\d+(\.\d+)?(m|s)|\d+)$',
        description="Spacing of keyframes: '1.5m' travelled, '0.5s', or '3' for every third "
                    "image; 'auto' takes the map's (1m where poses are known, else every image).")
    min_change: float = Field(
        0.25, ge=0, le=10,
        description='Without poses, an image counts as standing still when its descriptor moved '
                    "less than this share of the map's usual step between keyframes; 0 is off.")
    max_gap_s: float = Field(
        5.0, gt=0, le=86400, description='A longer pause between images clears the sequence, s.')
    max_gap_m: float = Field(
        20.0, gt=0, le=1e6,
        description='A larger jump of the pose between images clears the sequence, m.')


class MatchingConfig(Settings):
    """Coarse retrieval and sequence matching."""

    top_k: int = Field(20, ge=1, le=10000, description='Places kept by the coarse search.')
    min_speed: float = Field(
        0.8, gt=0, le=10, description='Slowest query speed searched, relative to the map drive.')
    max_speed: float = Field(1.25, gt=0, le=10, description='Fastest query speed searched.')
    speed_steps: int = Field(5, ge=1, le=101, description='Number of speeds searched.')
    reverse: bool = Field(False, description='Also match drives in the opposite direction.')
    merge_frames: int = Field(
        3, ge=0, le=10000,
        description='Candidates at most this many map frames apart are one place.')
    candidates: int = Field(5, ge=1, le=1000, description='Distinct places reported.')

    @model_validator(mode='after')
    def _speeds_ordered(self) -> 'MatchingConfig':
        if self.min_speed > self.max_speed:
            raise ValueError(
                f'min_speed {self.min_speed} is above max_speed {self.max_speed}')
        return self


class AcceptanceConfig(Settings):
    """When the best candidate is believed."""

    false_positive_rate: float = Field(
        0.01, gt=0, le=1,
        description='Accepted share of sequences from places that are not in the map.')
    min_margin: float = Field(
        0.02, ge=0, le=1,
        description='Relative gap to the best candidate at a distinct place; less is ambiguous.')
    agreement: int = Field(
        10, ge=1, le=1000,
        description='How many of the last `agreement_window` sequences, the newest among them, '
                    'must point at one moving place; 1 is off.')
    agreement_window: int = Field(15, ge=1, le=1000, description='Sequences looked back on.')
    agreement_frames: int = Field(
        1, ge=0, le=10000,
        description='How many map frames their best places may lie off the common move.')

    @model_validator(mode='after')
    def _agreement_possible(self) -> 'AcceptanceConfig':
        if self.agreement > self.agreement_window:
            raise ValueError(f'agreement {self.agreement} is above agreement_window '
                             f'{self.agreement_window}')
        return self


class GeometryConfig(Settings):
    """Whether two images show one place from two poses: local features and their geometry."""

    features: Literal['sift', 'orb'] = Field(
        'sift', description='Local features: SIFT, or ORB, which is faster and finds less.')
    max_features: int = Field(
        1000, ge=20, le=20000, description='Local features kept of an image, strongest first.')
    max_width: int = Field(
        640, ge=64, le=8192, description='Wider images are shrunk to this first, pixels.')
    ratio: float = Field(
        0.8, gt=0, le=1,
        description='A feature is matched when the nearest of the other image is nearer than '
                    'this share of the distance to the second nearest.')
    model: Literal['auto', 'essential', 'fundamental', 'homography'] = Field(
        'auto', description='What matched features must agree on: the essential matrix (calibrated '
                            'cameras), the fundamental matrix, or a homography (a flat scene); '
                            "'auto' is essential where both cameras are known, else fundamental.")
    threshold: float = Field(
        2.0, gt=0, le=100,
        description='How far a feature may lie off, pixels of an image of `max_width`.')
    min_inliers: int = Field(
        20, ge=0, le=20000, description='Matched features that must agree; 0 refuses nothing.')
    min_area: float = Field(
        0.15, ge=0, le=1,
        description='Share of both images that the agreeing features must span; less may be one '
                    'thing that stands in many places.')
    candidates: int = Field(
        1, ge=1, le=100,
        description='How many of the best places are checked; the first that passes is believed.')
    neighbours: int = Field(
        2, ge=1, le=50,
        description='Places before and after a place that landmarks are triangulated with.')


class EngineConfig(Settings):
    """How the engine maps and searches; the defaults of a model are in its file."""

    sequence: SequenceConfig = SequenceConfig()
    keyframes: KeyframeConfig = KeyframeConfig()
    matching: MatchingConfig = MatchingConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    geometry: GeometryConfig | None = Field(
        None, exclude_if=lambda geometry: geometry is None,
        description='Checks the geometry of accepted matches; none does not.')

    def with_length(self, length: int) -> 'EngineConfig':
        """Return the same settings for sequences of another length."""
        return self.model_copy(update={'sequence': SequenceConfig(length=length)})


class LoopConfig(Settings):
    """Which places of the robot's own past may close a loop."""

    exclude_s: float = Field(
        2.0, ge=0, le=86400, description='Places seen less than this long ago are left out, s.')
    exclude_frames: int = Field(
        20, ge=1, le=100000, description='The newest keyframes, so many, are left out.')
    exclude_m: float = Field(
        20.0, ge=0, le=1e6,
        description='Places less than this far back along the way are left out, m; counts where '
                    'there is odometry.')
    max_drift: float = Field(
        0.1, ge=0, le=10,
        description='Odometry may be wrong by this share of the way since the place was seen, and '
                    'by 10 m; a match that lies farther off is refused. 0 is off.')
    max_places: int = Field(
        200_000, ge=100, le=10_000_000, description='Most places of one drive.')


def setting_fields() -> dict[str, FieldInfo]:
    """Return the fields of all sections of `EngineConfig` by dotted name, e.g. matching.top_k."""
    return {f'{section}.{field}': info
            for section, settings in EngineConfig(geometry=GeometryConfig())
            for field, info in type(settings).model_fields.items()}
