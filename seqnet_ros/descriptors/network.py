"""A trunk followed by a pooling: its settings, read and checked without torch."""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from seqnet_ros.config.model import FrameConfig, ImageConfig, ModelConfig
from seqnet_ros.config.settings import Settings
from seqnet_ros.descriptors.describer import FrameDescriber

# Torch takes seconds to import, which commands that only read maps do without.
if TYPE_CHECKING:
    from seqnet_ros.descriptors.device import Device

VISION_TRANSFORMERS = {
    'vit_small_patch14_dinov2': (384, 12), 'vit_base_patch14_dinov2': (768, 12),
    'vit_large_patch14_dinov2': (1024, 24)}
"""Width and number of blocks of the vision transformers, by timm's name."""


class PoolingConfig(Settings):
    """Base of the settings of all poolings."""

    takes_class_token: ClassVar[bool] = False

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have unit length."""
        return True

    @property
    def vlad_clusters(self) -> int | None:
        """Number of clusters of vectors that are VLAD sums; None for other vectors."""
        return None


class ChannelPoolingConfig(PoolingConfig):
    """One value for each channel of the map."""

    normalise: bool = Field(
        True, exclude_if=lambda normalise: normalise,
        description='L2-normalize the frame descriptors; networks of the SeqVLAD project do not.')

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have unit length."""
        return self.normalise


class GemConfig(ChannelPoolingConfig):
    """Generalized mean over the map, optionally a linear layer (CosPlace)."""

    kind: Literal['gem'] = 'gem'
    p: float = Field(3.0, gt=0, le=100, description='Exponent before weights are loaded.')
    fc_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the linear layer; none for no linear '
                                          'layer.')


class PlainPoolingConfig(ChannelPoolingConfig):
    """Mean over the map (spoc), its maximum (mac), or the sum of maxima over regions (rmac)."""

    kind: Literal['spoc', 'mac', 'rmac']


class CellsConfig(PoolingConfig):
    """Every cell of the map L2-normalized over channels, then flattened."""

    kind: Literal['cells'] = 'cells'
    grid: tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]] | None = \
        Field(None, exclude_if=lambda grid: grid is None,
              description='Rows and columns of larger cells, to which the cells of the map are '
                          'averaged; none keeps those of the map.')


class NetVladConfig(PoolingConfig):
    """NetVLAD (Arandjelovic et al., CVPR 2016), optionally with a whitening projection."""

    kind: Literal['netvlad'] = 'netvlad'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    bias: bool = Field(False, description='Soft assignment with a bias (vladv2).')
    normalise_input: bool = Field(True, description='L2-normalize local features first.')
    wpca_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the whitening; none for no whitening.')


class VladSumsConfig(PoolingConfig):
    """NetVLAD before its normalization: residual sums that add up over frames (SeqVLAD).

    Mereu et al., "Learning Sequential Descriptors for Sequence-based Visual Place Recognition",
    RA-L 2022.
    """

    kind: Literal['vlad_sums'] = 'vlad_sums'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    normalise_input: bool = Field(True, description='L2-normalize local features first.')

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have unit length: sums have any length."""
        return False

    @property
    def vlad_clusters(self) -> int | None:
        """Number of clusters."""
        return self.clusters


class VladConfig(PoolingConfig):
    """VLAD with hard assignment to clusters that are fitted to images, without training (AnyLoc).

    Keetha et al., "AnyLoc: Towards Universal Visual Place Recognition", RA-L 2024.
    """

    kind: Literal['vlad'] = 'vlad'
    clusters: int = Field(32, ge=2, le=1024, description='Number of clusters.')
    wpca_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the whitening; none for no whitening.')


class SaladConfig(PoolingConfig):
    """Optimal transport of local features to clusters, beside the class token (SALAD).

    Izquierdo and Civera, "Optimal Transport Aggregation for Visual Place Recognition", CVPR 2024.
    MegaLoc follows it with a linear layer.
    """

    takes_class_token: ClassVar[bool] = True

    kind: Literal['salad'] = 'salad'
    clusters: int = Field(64, ge=1, le=1024, description='Number of clusters.')
    cluster_dim: int = Field(128, ge=1, le=4096, description='Values of each cluster.')
    token_dim: int = Field(256, ge=1, le=4096, description='Values of the class token.')
    fc_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size of the linear layer; none for no linear '
                                          'layer.')


class BoqConfig(PoolingConfig):
    """Learned queries that attend to the local features (BoQ).

    Ali-bey et al., "BoQ: A Place is Worth a Bag of Learnable Queries", CVPR 2024.
    """

    kind: Literal['boq'] = 'boq'
    width: int = Field(384, ge=64, le=4096, multiple_of=64,
                       description='Channels of the attention; each head has 64.')
    queries: int = Field(64, ge=1, le=1024, description='Number of queries of each layer.')
    layers: int = Field(2, ge=1, le=16, description='Number of layers.')
    rows: int = Field(32, ge=1, le=1024, description='Values kept of each channel.')


class NetworkConfig(FrameConfig):
    """A trunk of torchvision, or a DINOv2 vision transformer, followed by a pooling."""

    takes_weights: ClassVar[bool] = True

    kind: Literal['network'] = 'network'
    backbone: Literal[
        'resnet18', 'resnet50', 'resnet101', 'resnet152', 'vgg16', 'mobilenet_v2',
        'efficientnet_lite0',
        'efficientnet_b0', 'efficientnet_b1', 'efficientnet_b2', 'efficientnet_b3',
        'efficientnet_b4', 'efficientnet_b5', 'efficientnet_b6', 'efficientnet_b7',
        'vit_small_patch14_dinov2', 'vit_base_patch14_dinov2',
        'vit_large_patch14_dinov2'] = 'resnet18'
    layer: int | None = Field(
        None, ge=1, le=64,
        description='Number of stages to keep: ResNet layer1..layer4, the first n modules of '
                    '`features` of VGG-16, MobileNetV2 and EfficientNet, stage 1..7 of '
                    'EfficientNet-Lite0, or the first n blocks of a vision transformer; none keeps '
                    'the default.')
    facet: Literal['token', 'query', 'key', 'value'] = Field(
        'token', exclude_if=lambda facet: facet == 'token',
        description='Local features of a vision transformer: the tokens after the last block that '
                    'is kept, or the queries, keys or values of its attention.')
    final_norm: bool = Field(
        False, exclude_if=lambda final_norm: not final_norm,
        description='Apply the last normalization of a vision transformer to its tokens.')
    pooling: Annotated[
        GemConfig | PlainPoolingConfig | CellsConfig | NetVladConfig | VladSumsConfig | VladConfig
        | SaladConfig | BoqConfig, Field(discriminator='kind')] = GemConfig()

    @model_validator(mode='after')
    def _transformers_differ(self) -> 'NetworkConfig':
        if self.backbone not in VISION_TRANSFORMERS:
            if self.pooling.takes_class_token:
                raise ValueError(f'{self.pooling.kind} pooling needs the class token of a vision '
                                 f'transformer, found backbone {self.backbone}')
            if self.facet != 'token' or self.final_norm:
                raise ValueError('facet and final_norm are settings of vision transformers, found '
                                 f'backbone {self.backbone}')
        elif self.facet != 'token' and (self.final_norm or self.pooling.takes_class_token):
            raise ValueError(f'the facet {self.facet} has neither a last normalization nor a class '
                             f'token, found final_norm: {str(self.final_norm).lower()} and '
                             f'{self.pooling.kind} pooling')
        return self

    def dim(self, image: ImageConfig) -> int:
        """Return the length of a vector of images of this size, without allocating the network.

        Raises:
            ModelError: the layer is beyond the trunk, or the image too small for it.
        """
        # By name: the network is built from these settings, so it cannot be imported from here.
        dim: int = resolve_name('seqnet_ros.descriptors.frame_network:network_dim')(self, image)
        return dim

    @property
    def label(self) -> str:
        """Name of the vectors in messages: the pooling."""
        return self.pooling.kind

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have unit length."""
        return self.pooling.normalizes

    @property
    def vlad_clusters(self) -> int | None:
        """Number of clusters of vectors that are VLAD sums; None for other vectors."""
        return self.pooling.vlad_clusters


def build_network(config: ModelConfig, device: 'Device',
                  base_dir: Path | None) -> FrameDescriber:
    """Build the describer of a model, with its weights.

    Args:
        config: the model.
        device: where it runs.
        base_dir: directory of the model file, where relative weight paths start.

    Raises:
        ModelError: the weights are missing or do not fit.
    """
    load_network = resolve_name('seqnet_ros.descriptors.network_describer:load_network')
    describer: FrameDescriber = load_network(config, config.frame, device, base_dir)
    return describer
