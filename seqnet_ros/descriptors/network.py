"""A convolutional trunk followed by a pooling: its settings, read and checked without torch."""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from seqnet_ros.config.model import FrameConfig, ImageConfig, ModelConfig
from seqnet_ros.config.settings import Settings
from seqnet_ros.descriptors.describer import FrameDescriber

# Torch takes seconds to import, which commands that only read maps do without.
if TYPE_CHECKING:
    from seqnet_ros.descriptors.device import Device


class PoolingConfig(Settings):
    """Base of the settings of all poolings."""

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


class NetworkConfig(FrameConfig):
    """A convolutional trunk followed by a pooling."""

    takes_weights: ClassVar[bool] = True

    kind: Literal['network'] = 'network'
    backbone: Literal[
        'resnet18', 'resnet50', 'resnet101', 'resnet152', 'vgg16', 'mobilenet_v2',
        'efficientnet_lite0'] = 'resnet18'
    layer: int | None = Field(
        None, ge=1, le=64,
        description='Number of stages to keep: ResNet layer1..layer4, or the first n modules of '
                    '`features` of VGG-16 and MobileNetV2, or stage 1..7 of EfficientNet-Lite0; '
                    'none keeps the default.')
    pooling: Annotated[
        GemConfig | PlainPoolingConfig | CellsConfig | NetVladConfig | VladSumsConfig,
        Field(discriminator='kind')] = GemConfig()

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
