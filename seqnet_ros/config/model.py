"""Settings that identify a descriptor: models with equal identity and weights can be compared.

All of it goes into the fingerprint and into maps, but for names and for where weights lie. The
defaults are the ``hog`` model, which needs no weights.

Fields that models gained later have ``exclude_if`` for their default: documents and fingerprints of
models without them stay as they were, and maps with them.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from seqnet_ros.config.settings import Settings


class ImageConfig(Settings):
    """Resizing and scaling of images to the input of the descriptor."""

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


class ChannelPoolingConfig(Settings):
    """One value for each channel of the map."""

    normalise: bool = Field(
        True, exclude_if=lambda normalise: normalise,
        description='L2-normalize the frame descriptors; networks of the SeqVLAD project do not.')


class GemConfig(ChannelPoolingConfig):
    """Generalised mean over the map, optionally a linear layer (CosPlace)."""

    kind: Literal['gem'] = 'gem'
    p: float = Field(3.0, gt=0, le=100, description='Exponent before weights are loaded.')
    fc_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the linear layer; none for no linear '
                                          'layer.')


class PlainPoolingConfig(ChannelPoolingConfig):
    """Mean over the map (spoc), its maximum (mac), or the sum of maxima over regions (rmac)."""

    kind: Literal['spoc', 'mac', 'rmac']


class CellsConfig(Settings):
    """Every cell of the map L2-normalized over channels, then flattened."""

    kind: Literal['cells'] = 'cells'


class NetVladConfig(Settings):
    """NetVLAD (Arandjelovic et al., CVPR 2016), optionally with a whitening projection."""

    kind: Literal['netvlad'] = 'netvlad'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    bias: bool = Field(False, description='Soft assignment with a bias (vladv2).')
    normalise_input: bool = Field(True, description='L2-normalize local features first.')
    wpca_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the whitening; none for no whitening.')


class VladSumsConfig(Settings):
    """NetVLAD before its normalization: residual sums that add up over frames (SeqVLAD).

    Mereu et al., "Learning Sequential Descriptors for Sequence-based Visual Place Recognition",
    RA-L 2022.
    """

    kind: Literal['vlad_sums'] = 'vlad_sums'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    normalise_input: bool = Field(True, description='L2-normalize local features first.')


class NetworkConfig(Settings):
    """A torchvision trunk followed by a pooling."""

    kind: Literal['network'] = 'network'
    backbone: Literal[
        'resnet18', 'resnet50', 'resnet101', 'resnet152', 'vgg16', 'mobilenet_v2'] = 'resnet18'
    layer: int | None = Field(
        None, ge=1, le=64,
        description='Number of stages to keep: ResNet layer1..layer4, or the first n modules of '
                    '`features` of VGG-16 and MobileNetV2; none keeps the default.')
    pooling: Annotated[
        GemConfig | PlainPoolingConfig | CellsConfig | NetVladConfig | VladSumsConfig,
        Field(discriminator='kind')] = GemConfig()


class WeightsConfig(Settings):
    """Source of trained weights."""

    path: str | None = Field(
        None, description='Local file (safetensors or torch); relative to the model file.')
    url: str | None = Field(None, description='Download URL, used if `path` is not set.')
    sha256: str | None = Field(
        None, pattern='^[0-9a-f]{64}$', description='Expected hash of the file.')
    layout: Literal[
        'seqnet_ros', 'torchvision', 'cosplace', 'jist', 'vg_transformers', 'netvlad',
        'patch_netvlad', 'seqnet'] \
        = Field('seqnet_ros', description='Layout of the tensor names in the file.')
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


class AggregatorConfig(Settings):
    """Aggregation of successive frames to one sequence descriptor."""

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
        False, exclude_if=lambda normalise: not normalise,
        description="L2-normalize the output of JIST's aggregators and of fc, which is off by "
                    'default; the output of the others is always normalized.')
    weights: WeightsConfig = WeightsConfig()

    def check_length(self, length: int) -> None:
        """Refuse a sequence length that the aggregator cannot describe, whatever its weights.

        Raises:
            ValueError: the sequence is shorter than the kernel of SeqNet.
        """
        if self.aggregator == 'seqnet' and length < self.kernel:
            raise ValueError(f'a sequence of {length} frames is shorter than the SeqNet kernel of '
                             f'{self.kernel}')


class ProjectionConfig(Settings):
    """Projection of frame descriptors for frame-by-frame sequence matching.

    A SeqNet with kernel 1, applied to single frames: the S1 of the SeqNet paper's hierarchical
    search, whose first stage compares sequence descriptors of the unprojected frames.
    """

    out_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size; none keeps the input size.')
    weights: WeightsConfig = WeightsConfig()


class ModelConfig(Settings):
    """A model: everything that decides what a descriptor means."""

    name: str = Field('hog', pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]*$')
    description: str = ''
    image: ImageConfig = ImageConfig()
    cameras: int = Field(
        1, ge=1, le=16, exclude_if=lambda cameras: cameras == 1,
        description='Number of cameras whose simultaneous images are described as one place.')
    frame: Annotated[HogConfig | PatchNormConfig | NetworkConfig,
                     Field(discriminator='kind')] = HogConfig()
    weights: WeightsConfig = WeightsConfig()
    centring: bool = Field(
        True, description='Subtract the mean descriptor of each drive before normalization.')
    sequence: AggregatorConfig = AggregatorConfig()
    projection: ProjectionConfig | None = Field(
        None, exclude_if=lambda projection: projection is None,
        description='Projection of frames for sequence matching; none compares the frame '
                    'descriptors unchanged.')

    @model_validator(mode='after')
    def _projection_sees_frames_once(self) -> 'ModelConfig':
        if self.projection is not None and self.centring:
            raise ValueError('a projection needs centring: false, because it is applied to every '
                             'frame once while the mean of the drive changes')
        return self

    @model_validator(mode='after')
    def _sums_are_summed(self) -> 'ModelConfig':
        sums = isinstance(self._pooling, VladSumsConfig)
        if sums != (self.sequence.aggregator == 'seqvlad'):
            frames = self.frame.pooling if isinstance(self.frame, NetworkConfig) else self.frame
            raise ValueError('vlad_sums pooling and the seqvlad aggregator require each other, '
                             f'found {frames.kind} and {self.sequence.aggregator}')
        if not self.normalises_frames and (self.centring or self.projection is not None):
            found = 'seqvlad' if sums else 'pooling with normalise: false'
            raise ValueError(f'{found} needs centring: false and no projection, because its frames '
                             'must not be modified')
        if sums and self.cameras > 1:
            raise ValueError(f'seqvlad supports a single camera, found cameras: {self.cameras}')
        return self

    def identity(self) -> dict[str, Any]:
        """Return what decides the meaning of a descriptor, but for the weights, as JSON values."""
        return self.model_dump(mode='json', exclude={
            'name': True, 'description': True, 'weights': True, 'sequence': {'weights'},
            'projection': {'weights'}})

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
