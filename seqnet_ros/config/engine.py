"""Settings tuned per robot: sequence length, keyframes, search, acceptance, geometric check, loops.

These settings may change between mapping and localizing; descriptors stay the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.registry import Registry

SPACING = re.compile(r'\s*(\d+(?:\.\d+)?)\s*([ms])\s*|\s*(\d+)\s*')
"""A spacing of keyframes, except 'auto': number and unit, or a number of images."""
SPACING_FORMS = "meters ('1.5m'), seconds ('0.5s') or a whole number of images ('3')"


class SequenceConfig(Settings):
    """Length of a sequence."""

    length: int = Field(10, ge=1, le=1000, description='Frames per sequence.')


class KeyframeConfig(Settings):
    """Selection of the images that enter the sequence buffer and the map."""

    every: str = Field(
        'auto',
        description="Spacing of keyframes: '1.5m' traveled, '0.5s', or '3' for every third image; "
                    "'auto' uses the map's (1m if poses are known, else every image).")
    min_change: float = Field(
        0.25, ge=0, le=10,
        description='Without poses, an image counts as stationary if its descriptor changed by '
                    "less than this share of the map's usual step between keyframes; 0 disables "
                    'this. The place filter ignores it for a spacing in images.')
    max_gap_s: float = Field(
        5.0, gt=0, le=86400, description='A longer pause between images clears the sequence, s.')
    max_gap_m: float = Field(
        20.0, gt=0, le=1e6,
        description='A larger jump of the pose between images clears the sequence, m.')

    @field_validator('every')
    @classmethod
    def _every_is_a_spacing(cls, every: str) -> str:
        if every != 'auto' and not SPACING.fullmatch(every):
            raise ValueError(f"expected 'auto', {SPACING_FORMS}")
        return every


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
        description='Candidates at most this many map frames apart are merged into one place.')
    candidates: int = Field(5, ge=1, le=1000, description='Distinct places reported.')

    @model_validator(mode='after')
    def _speeds_ordered(self) -> 'MatchingConfig':
        if self.min_speed > self.max_speed:
            raise ValueError(
                f'min_speed {self.min_speed} is above max_speed {self.max_speed}')
        return self


class AcceptanceConfig(Settings):
    """Acceptance of the best candidate."""

    false_positive_rate: float = Field(
        0.01, gt=0, le=1,
        description='Accepted share of sequences from places that are not in the map.')
    min_margin: float = Field(
        0.02, ge=0, le=1,
        description='Relative gap to the best candidate at a distinct place; a smaller gap is '
                    'ambiguous.')
    agreement: int = Field(
        10, ge=1, le=1000,
        description='Number of the last `agreement_window` sequences, including the newest, that '
                    'must agree on one moving place; 1 disables this.')
    agreement_window: int = Field(
        15, ge=1, le=1000, description='Number of recent sequences considered for the agreement.')
    agreement_frames: int = Field(
        1, ge=0, le=10000,
        description='Maximum deviation of their best places from the common motion, map frames.')

    @model_validator(mode='after')
    def _agreement_possible(self) -> 'AcceptanceConfig':
        if self.agreement > self.agreement_window:
            raise ValueError(f'agreement {self.agreement} is above agreement_window '
                             f'{self.agreement_window}')
        return self


class LocalizationConfig(Settings):
    """How places are found."""

    method: Literal['filter', 'sequence'] = Field(
        'filter', description='Recursive filter over all places, or hierarchical search with '
                              'sequences as in the SeqNet paper.')


class OdometryGateConfig(Settings):
    """Accepted matches of the localizer that contradict odometry."""

    max_drift: float = Field(
        0.1, ge=0, le=10,
        description='An accepted match that is farther from where odometry has carried the robot '
                    'than this share of the distance since the last one, plus 10 m, is held back. '
                    '0 disables this.')
    confirmations: int = Field(
        3, ge=1, le=1000,
        description='A match that contradicts odometry is accepted if this many successive ones '
                    'agree, including itself.')


class FilterConfig(Settings):
    """Recursive place filter."""

    tolerance: int = Field(
        3, ge=0, le=10000,
        description='A match is correct within this many places; `score` is its probability.')
    start: float = Field(
        0.5, gt=0, lt=1,
        description='Probability of being on the map when the node or the recording starts.')
    leave: float = Field(
        0.003, gt=0, lt=1,
        description='Probability of leaving the map, or of being carried away, between two '
                    'keyframes.')
    enter: float = Field(
        0.05, gt=0, lt=1,
        description='Probability of coming onto the map between two keyframes, if off it but near; '
                    'from far away less, if the map has less than 2,000 places.')
    min_speed: float = Field(
        0.5, gt=0, le=10, description='Slowest speed without odometry, relative to the map drive.')
    max_speed: float = Field(2.0, gt=0, le=10, description='Fastest speed without odometry.')
    switching: float = Field(
        0.03, ge=0, le=1, description='Probability of a new speed at a keyframe.')
    unseen: float = Field(
        0.05, ge=0, lt=1, exclude_if=lambda share: share == 0.05,
        description='Share of the time in which the robot is on the map but its images do not show '
                    'the places, as in a tunnel.')
    odometry_drift: float = Field(
        0.05, ge=0, le=10, description='Error of odometry between two keyframes, as a share of the '
                                       'distance.')
    evidence: float = Field(
        1.0, gt=0, le=10, description='Factor on the evidence of a frame; 1 is as calibrated.')
    sequence_share: float = Field(
        0.3, ge=0, le=1, exclude_if=lambda share: share == 0.3,
        description='Share of the evidence that comes from sequence descriptors, for models whose '
                    'sequence aggregator is trained; the rest comes from the newest frame.')
    background_frames: float = Field(
        40.0, ge=1, le=10000,
        description='Number of keyframes over which the similarity of a place to everything is '
                    'averaged.')

    @model_validator(mode='after')
    def _speeds_ordered(self) -> 'FilterConfig':
        if self.min_speed > self.max_speed:
            raise ValueError(
                f'min_speed {self.min_speed} is above max_speed {self.max_speed}')
        return self


class GeometryConfig(Settings):
    """Whether two images show one place from two poses: local features and their geometry."""

    features: Literal['sift', 'orb'] = Field(
        'sift', description='Local features: SIFT, or ORB, which is faster and finds fewer '
                            'matches.')
    max_features: int = Field(
        1000, ge=20, le=20000, description='Maximum number of local features per image, strongest '
                                           'first.')
    max_width: int = Field(
        640, ge=64, le=8192, description='Wider images are downscaled to this width first, pixels.')
    ratio: float = Field(
        0.8, gt=0, le=1,
        description='Ratio test: a feature matches if its nearest neighbor in the other image is '
                    'nearer than this share of the distance to the second nearest.')
    model: Literal['auto', 'essential', 'fundamental', 'homography'] = Field(
        'auto', description='Model that matched features must agree on: essential matrix '
                            '(calibrated cameras), fundamental matrix, or homography (a flat '
                            "scene); 'auto' is essential if both cameras are known, else "
                            'fundamental.')
    threshold: float = Field(
        2.0, gt=0, le=100,
        description='Inlier threshold, pixels of an image of `max_width`.')
    min_inliers: int = Field(
        20, ge=0, le=20000, description='Minimum number of inliers; 0 rejects nothing.')
    min_area: float = Field(
        0.15, ge=0, le=1,
        description='Minimum share of both images that the inliers must span; a smaller area may '
                    'be one object that appears in many places.')
    candidates: int = Field(
        1, ge=1, le=100,
        description='Number of best places to check; the first that passes is accepted.')
    neighbours: int = Field(
        2, ge=1, le=50,
        description='Number of places before and after a place used to triangulate landmarks.')


@dataclass(frozen=True)
class RuleKind:
    """An acceptance rule.

    Attributes:
        rule: its `seqnet_ros.localization.acceptance.rule.Rule`.
        settings: its settings in `EngineConfig.rules`; None where it has none there.
    """

    rule: Any
    settings: type[Settings] | None = None


RULES: Registry[RuleKind] = Registry(
    'acceptance rule', 'seqnet_ros.localization.acceptance.registry')


def _parse_rules(value: Any) -> dict[str, Settings]:
    """Return the settings of acceptance rules, checked by the classes of their names."""
    if not isinstance(value, Mapping):
        raise ValueError('expected the settings of acceptance rules by their names')
    return {name: _parse_rule(name, settings) for name, settings in value.items()}


def _parse_rule(name: Any, value: Any) -> Settings:
    kind = RULES.find(name)
    if kind is None or kind.settings is None:
        known = [rule for rule, item in RULES.items().items() if item.settings is not None]
        raise ValueError(f'there is no rule {name!r} with settings, expected one of: '
                         f'{", ".join(known) or "none is installed"}')
    try:
        return kind.settings.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ValueError(describe_validation_error(error, name)) from error


class EngineConfig(Settings):
    """Settings of mapping and search; the defaults of a model are in its file."""

    sequence: SequenceConfig = SequenceConfig()
    keyframes: KeyframeConfig = KeyframeConfig()
    localization: LocalizationConfig = Field(
        LocalizationConfig(), exclude_if=lambda value: value == LocalizationConfig())
    filter: FilterConfig = Field(
        FilterConfig(), exclude_if=lambda value: value == FilterConfig())
    odometry_gate: OdometryGateConfig = Field(
        OdometryGateConfig(), exclude_if=lambda value: value == OdometryGateConfig())
    matching: MatchingConfig = MatchingConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    geometry: GeometryConfig | None = Field(
        None, exclude_if=lambda geometry: geometry is None,
        description='Geometric check of accepted matches; none disables it.')
    rules: Annotated[dict[str, SerializeAsAny[Settings]], BeforeValidator(_parse_rules)] = Field(
        {}, exclude_if=lambda rules: not rules,
        description='Settings of acceptance rules of plugins, by rule name; a rule without an '
                    'entry is off.')

    def with_length(self, length: int) -> 'EngineConfig':
        """Return the same settings for sequences of another length."""
        return self.model_copy(update={'sequence': SequenceConfig(length=length)})


class LoopConfig(Settings):
    """Selection of the earlier places that may close a loop."""

    exclude_s: float = Field(
        2.0, ge=0, le=86400, description='Exclude places seen less than this long ago, s.')
    exclude_frames: int = Field(
        20, ge=1, le=100000, description='Exclude this many of the newest keyframes.')
    exclude_m: float = Field(
        20.0, ge=0, le=1e6,
        description='Exclude places less than this distance back along the route, m; used only '
                    'with odometry.')
    max_drift: float = Field(
        0.1, ge=0, le=10,
        description='Maximum drift of odometry as a share of the distance traveled since the place '
                    'was seen, plus 10 m; matches farther away are rejected. 0 disables this.')
    max_places: int = Field(
        200_000, ge=100, le=10_000_000, description='Maximum number of places of one drive.')


def setting_fields() -> dict[str, FieldInfo]:
    """Return the fields of all sections of `EngineConfig` by dotted name, e.g. matching.top_k."""
    return {f'{section}.{field}': info
            for section, settings in EngineConfig(geometry=GeometryConfig())
            if isinstance(settings, Settings)
            for field, info in type(settings).model_fields.items()}


def rule_fields(rule: str) -> dict[str, FieldInfo]:
    """Return the fields of a rule's settings by dotted name, e.g. rules.RULE.FIELD."""
    kind = RULES.find(rule)
    fields = {} if kind is None or kind.settings is None else kind.settings.model_fields
    return {f'rules.{rule}.{field}': info for field, info in fields.items()}
