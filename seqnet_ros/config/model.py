"""What can be configured, once: model files, node parameters and command options share this.

Every field carries its description and its range, so that ``--help``, ``ros2 param describe``
and the documentation say the same. A model file (``models/*.yaml``) is a `ModelConfig`; the
defaults of `ModelConfig` are the ``hog`` model, which needs no weights.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from seqnet_ros.errors import ModelError


class Settings(BaseModel):
    """Base of all settings: unknown names are refused, values are checked when assigned."""

    model_config = ConfigDict(extra='forbid', frozen=True)


class GrownSettings(Settings):
    """Settings that gained fields later, which are left out where they have their defaults.

    So models are written as before: maps hold them in full, and fingerprints cover them.
    """

    later: ClassVar[tuple[str, ...]]

    @model_serializer(mode='wrap')
    def _leave_out_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document = handler(self)
        for name in self.later:
            if name in document and document[name] == type(self).model_fields[name].default:
                del document[name]
        return document


class ImageConfig(Settings):
    """How an image is brought to the size and range the descriptor expects."""

    height: int = Field(256, ge=8, le=4096, description='Height after resizing, pixels.')
    width: int = Field(256, ge=8, le=4096, description='Width after resizing, pixels.')
    mean: tuple[float, float, float] = Field(
        (0.485, 0.456, 0.406), description='Channel means (RGB, range 0 to 1) of a network.')
    std: tuple[float, float, float] = Field(
        (0.229, 0.224, 0.225), description='Channel deviations (RGB, range 0 to 1).')


class HogConfig(Settings):
    """OpenCV's histogram of oriented gradients over a fixed grid."""

    kind: Literal['hog'] = 'hog'
    cell: int = Field(32, ge=4, le=256, description='Cell edge, pixels.')
    block: int = Field(64, ge=4, le=512, description='Block edge, pixels (block stride = cell).')
    bins: int = Field(9, ge=2, le=36, description='Orientation bins.')


class PatchNormConfig(Settings):
    """SeqSLAM's patch-normalised thumbnails (Milford and Wyeth, ICRA 2012)."""

    kind: Literal['patchnorm'] = 'patchnorm'
    patch: int = Field(8, ge=2, le=64, description='Patch edge, pixels.')


class ChannelPoolingConfig(GrownSettings):
    """One value for each channel of the map."""

    later = ('normalise',)
    normalise: bool = Field(
        True, description='L2-normalise the frame descriptors; networks of the SeqVLAD project '
                          'do not.')


class GemConfig(ChannelPoolingConfig):
    """Generalised mean over the map, optionally a linear layer (CosPlace)."""

    kind: Literal['gem'] = 'gem'
    p: float = Field(3.0, gt=0, le=100, description='Exponent before any weights are loaded.')
    fc_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the linear layer; none without it.')


class PlainPoolingConfig(ChannelPoolingConfig):
    """Mean over the map (spoc), its maximum (mac), or the sum of maxima over regions (rmac)."""

    kind: Literal['spoc', 'mac', 'rmac']


class CellsConfig(Settings):
    """Every cell of the map L2-normalised over channels, then flattened."""

    kind: Literal['cells'] = 'cells'


class NetVladConfig(Settings):
    """NetVLAD (Arandjelovic et al., CVPR 2016), optionally with a whitening projection."""

    kind: Literal['netvlad'] = 'netvlad'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    bias: bool = Field(False, description='Soft assignment with a bias (the vladv2 form).')
    normalise_input: bool = Field(True, description='L2-normalise local features first.')
    wpca_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the whitening; none without it.')


class VladSumsConfig(Settings):
    """NetVLAD before its normalisation: residual sums that add up over frames (SeqVLAD).

    Mereu et al., "Learning Sequential Descriptors for Sequence-based Visual Place Recognition",
    RA-L 2022.
    """

    kind: Literal['vlad_sums'] = 'vlad_sums'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    normalise_input: bool = Field(True, description='L2-normalise local features first.')


class NetworkConfig(Settings):
    """A torchvision trunk followed by a pooling."""

    kind: Literal['network'] = 'network'
    backbone: Literal[
        'resnet18', 'resnet50', 'resnet101', 'resnet152', 'vgg16', 'mobilenet_v2'] = 'resnet18'
    layer: int | None = Field(
        None, ge=1, le=64,
        description='Keep this many stages: ResNet layer1..layer4, or the first n modules of '
                    '`features` of VGG-16 and MobileNetV2; none keeps the usual ones.')
    pooling: Annotated[
        GemConfig | PlainPoolingConfig | CellsConfig | NetVladConfig | VladSumsConfig,
        Field(discriminator='kind')] = GemConfig()


class WeightsConfig(Settings):
    """Where trained weights come from."""

    path: str | None = Field(
        None, description='Local file (safetensors or torch); relative to the model file.')
    url: str | None = Field(None, description='Download address, used where `path` is not set.')
    sha256: str | None = Field(
        None, pattern='^[0-9a-f]{64}$', description='Expected hash of the file.')
    layout: Literal[
        'seqnet_ros', 'torchvision', 'cosplace', 'jist', 'vg_transformers', 'netvlad',
        'patch_netvlad', 'seqnet'] \
        = Field('seqnet_ros', description='Naming of the tensors in the file.')
    random: bool = Field(
        False, description='Allow random weights when neither path nor url is given.')

    @property
    def named(self) -> bool:
        """True where a file or an address is given."""
        return self.path is not None or self.url is not None

    @model_validator(mode='after')
    def _download_needs_hash(self) -> 'WeightsConfig':
        if self.url and not self.sha256:
            raise ValueError('a weights url needs its sha256')
        return self


class SequenceConfig(GrownSettings):
    """How successive frames become one sequence descriptor."""

    later = ('normalise',)
    length: int = Field(10, ge=1, le=1000, description='Frames per sequence.')
    aggregator: Literal[
        'smooth', 'delta', 'seqnet', 'concat', 'mean', 'max', 'simplefc', 'meanfc', 'conv1d',
        'seqgem', 'fc', 'seqvlad'] = Field(
            'smooth', description='How frame descriptors become a sequence descriptor.')
    kernel: int = Field(3, ge=1, le=100, description='Temporal kernel width w of SeqNet.')
    p: float = Field(3.0, gt=0, le=100, description='SeqGeM exponent before weights are loaded.')
    out_dim: int | None = Field(
        None, ge=1, le=65536,
        description='Output size of SeqNet and fc; none keeps the input size.')
    normalise: bool = Field(
        False, description="L2-normalise the output of JIST's aggregators and of fc, which is not "
                           'by default; that of the others always is.')
    weights: WeightsConfig = WeightsConfig()

    @model_validator(mode='after')
    def _kernel_fits(self) -> 'SequenceConfig':
        if self.aggregator == 'seqnet' and self.length < self.kernel:
            raise ValueError(f'a sequence of {self.length} frames is shorter than the SeqNet '
                             f'kernel of {self.kernel}')
        return self


class ProjectionConfig(Settings):
    """How frames are described once more, for the comparison of sequences frame by frame.

    A SeqNet with kernel 1, applied to single frames: the S1 of the SeqNet paper's hierarchical
    search, whose first stage compares sequence descriptors of the frames as they are.
    """

    out_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size; none keeps the input size.')
    weights: WeightsConfig = WeightsConfig()


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


class ModelConfig(GrownSettings):
    """A model: everything that decides what a descriptor means and how matches are made."""

    later = ('cameras', 'projection', 'geometry')
    name: str = Field('hog', pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]*$')
    description: str = ''
    image: ImageConfig = ImageConfig()
    cameras: int = Field(
        1, ge=1, le=16, description='Cameras whose images of one moment are described as one.')
    frame: Annotated[HogConfig | PatchNormConfig | NetworkConfig,
                     Field(discriminator='kind')] = HogConfig()
    weights: WeightsConfig = WeightsConfig()
    centring: bool = Field(
        True, description="Subtract each traverse's mean descriptor before normalising.")
    sequence: SequenceConfig = SequenceConfig()
    projection: ProjectionConfig | None = Field(
        None, description='Describes frames once more for sequence matching; none compares them '
                          'as they are.')
    keyframes: KeyframeConfig = KeyframeConfig()
    matching: MatchingConfig = MatchingConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    geometry: GeometryConfig | None = Field(
        None, description='Checks the geometry of accepted matches; none does not.')

    @model_validator(mode='after')
    def _projection_sees_frames_once(self) -> 'ModelConfig':
        if self.projection is not None and self.centring:
            raise ValueError('a projection needs centring: false, because it describes every frame '
                             'once while the mean of the drive moves on')
        return self

    @model_validator(mode='after')
    def _sums_are_summed(self) -> 'ModelConfig':
        sums = isinstance(self._pooling, VladSumsConfig)
        if sums != (self.sequence.aggregator == 'seqvlad'):
            frames = self.frame.pooling if isinstance(self.frame, NetworkConfig) else self.frame
            raise ValueError('vlad_sums pooling and the aggregator seqvlad need one another, found '
                             f'{frames.kind} and {self.sequence.aggregator}')
        if not self.normalises_frames and (self.centring or self.projection is not None):
            found = 'seqvlad' if sums else 'pooling with normalise: false'
            raise ValueError(f'{found} needs centring: false and no projection, because frames are '
                             'taken as they are')
        if sums and self.cameras > 1:
            raise ValueError('seqvlad takes the images of one camera, found cameras: '
                             f'{self.cameras}')
        return self

    @property
    def normalises_frames(self) -> bool:
        """Whether frames have unit length; the sums that SeqVLAD adds up have not."""
        if isinstance(self._pooling, ChannelPoolingConfig):
            return self._pooling.normalise
        return not isinstance(self._pooling, VladSumsConfig)

    @property
    def projects_frames(self) -> bool:
        """Whether frames are described once more for sequence matching."""
        return self.projection is not None or not self.normalises_frames

    @property
    def _pooling(self) -> Settings | None:
        return self.frame.pooling if isinstance(self.frame, NetworkConfig) else None


def parse_model_config(values: dict[str, Any], origin: str) -> ModelConfig:
    """Check the content of a model file.

    Raises:
        ModelError: a field is unknown, missing or out of range; the message names it.
    """
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        raise ModelError(f'{origin}: {describe_validation_error(error)}') from error


def describe_validation_error(error: ValidationError) -> str:
    """Return a pydantic error as one sentence."""
    parts = []
    for item in error.errors():
        where = '.'.join(str(part) for part in item['loc']) or 'value'
        found = '' if isinstance(item.get('input'), dict) else f' (found {item.get("input")!r})'
        parts.append(f'{where}: {item["msg"]}{found}')
    return '; '.join(parts)
