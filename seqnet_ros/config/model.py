"""Settings that identify a descriptor: models with equal identity and weights can be compared.

All settings except names and paths of weights are part of the fingerprint and of maps. The defaults
are the ``hog`` model, which needs no weights; which model is used where none is named is chosen in
`seqnet_ros.models.default_model`.

Fields that were added later have ``exclude_if`` for their default, so that existing documents,
fingerprints and maps remain valid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, TypeAdapter, model_validator

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.registry import Registry


class ImageConfig(Settings):
    """Resizing and scaling of images to the input of the descriptor."""

    height: int = Field(256, ge=8, le=4096, description='Height after resizing, pixels.')
    width: int = Field(256, ge=8, le=4096, description='Width after resizing, pixels.')
    mean: tuple[float, float, float] = Field(
        (0.485, 0.456, 0.406), description='Channel means (RGB, range 0 to 1) of a network.')
    std: tuple[float, float, float] = Field(
        (0.229, 0.224, 0.225), description='Channel deviations (RGB, range 0 to 1).')
    resize: Literal['bilinear', 'bicubic'] = Field(
        'bilinear', exclude_if=lambda resize: resize == 'bilinear',
        description='Filter of the resizing for a network, antialiased.')


class FrameConfig(Settings):
    """Base of the settings of all frame descriptors; `kind` tells them apart."""

    takes_weights: ClassVar[bool] = False
    is_file: ClassVar[bool] = False
    """Whether its weights are a whole network, which `frame.path` may name as well."""
    is_program: ClassVar[bool] = False
    """Whether that network is a program, to be used only by those who trust it."""
    runs_code: ClassVar[bool] = False
    """Whether it imports what its settings name; maps of others must not choose that."""

    kind: str

    def dim(self, image: ImageConfig) -> int:
        """Return the length of a vector of images of this size.

        Raises:
            ModelError: the settings contradict each other.
        """
        raise NotImplementedError

    @property
    def label(self) -> str:
        """Name of the vectors in messages."""
        return self.kind

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have unit length."""
        return True

    @property
    def vlad_clusters(self) -> int | None:
        """Number of clusters of vectors that are VLAD sums; None for other vectors."""
        return None


@dataclass(frozen=True)
class Descriptor:
    """A kind of frame descriptor.

    Attributes:
        config: its settings; the default of their `kind` is its name.
        build: makes the describer; see `seqnet_ros.descriptors.registry`.
    """

    config: type[FrameConfig]
    build: Callable[..., Any]


DESCRIPTORS: Registry[Descriptor] = Registry(
    'frame descriptor', 'seqnet_ros.descriptors.registry')


def _parse_frame(value: Any) -> FrameConfig:
    """Return the settings of a frame descriptor, checked by the class of their kind."""
    if isinstance(value, FrameConfig):
        return value
    if isinstance(value, Mapping) and 'kind' in value:
        DESCRIPTORS.find(value['kind'])  # plugins may have it
    return _any_frame(tuple(item.config for item in DESCRIPTORS.items(plugins=False).values())
                      ).validate_python(value)


@cache
def _any_frame(configs: tuple[type[FrameConfig], ...]) -> TypeAdapter[FrameConfig]:
    either: Any = reduce(or_, configs)
    return TypeAdapter(Annotated[either, Field(discriminator='kind')])


@dataclass(frozen=True)
class Aggregator:
    """A sequence aggregator.

    Attributes:
        build: a `seqnet_ros.sequences.aggregator.SequenceAggregator`, or 'module:class' of one that
            is imported when it is used.
        learned: it has weights.
        trained: the weights are of no use before training; otherwise they start as a mean.
        own_weights: they are in a separate file, never in that of the frame descriptor.
        sums_frames: its frames must be VLAD sums.
        evaluated: it is a method of SeqNet's evaluation, under the same name.
        check_length: raises ValueError for a sequence length that it cannot describe.
    """

    build: Any
    learned: bool = False
    trained: bool = False
    own_weights: bool = False
    sums_frames: bool = False
    evaluated: bool = False
    check_length: Callable[['AggregatorConfig', int], None] | None = None


AGGREGATORS: Registry[Aggregator] = Registry('aggregator', 'seqnet_ros.sequences.registry')


def _check_aggregator(name: Any) -> str:
    AGGREGATORS.find(name)  # plugins may have it
    return _any_of(tuple(AGGREGATORS.items(plugins=False))).validate_python(name)


@cache
def _any_of(names: tuple[str, ...]) -> TypeAdapter[str]:
    either: Any = Literal[names]
    return TypeAdapter(either)


class WeightsConfig(Settings):
    """Source of trained weights."""

    path: str | None = Field(
        None, description='Local file (safetensors or torch); relative to the model file, or to '
                          '`package`.')
    package: str | None = Field(
        None, pattern='^[A-Za-z_][A-Za-z0-9_]*$', exclude_if=lambda package: package is None,
        description='Installed Python package whose folder contains `path`. It is not imported.')
    url: str | None = Field(
        None, description="The publisher's address of the file: downloaded by `seqnet_ros models "
                          'fetch`; without `path` also when the model is loaded, which needs '
                          '`sha256`.')
    page: str | None = Field(
        None, exclude_if=lambda page: page is None,
        description="The publisher's page, where the file has no address of its own.")
    sha256: str | None = Field(
        None, pattern='^[0-9a-f]{64}$', description='Expected hash of the file.')
    layout: Literal[
        'seqnet_ros', 'torchvision', 'cosplace', 'jist', 'vg_transformers', 'netvlad',
        'patch_netvlad', 'seqnet', 'dinov2', 'megaloc', 'salad', 'boq', 'deep_vg',
        'efficientnet_pytorch'] \
        = Field('seqnet_ros', description='Layout of the tensor names in the file.')
    random: bool = Field(
        False, description='Allow random weights when neither path nor url is given.')

    @property
    def named(self) -> bool:
        """True where a file or an address is given."""
        return self.path is not None or self.url is not None

    @model_validator(mode='after')
    def _download_needs_hash(self) -> 'WeightsConfig':
        if self.url and not self.sha256 and self.path is None:
            raise ValueError('a weights url was given without sha256 and path, expected sha256, or '
                             'path for a file that `seqnet_ros models fetch` downloads')
        return self

    @model_validator(mode='after')
    def _package_holds_a_known_file(self) -> 'WeightsConfig':
        if self.package is None:
            return self
        if self.path is None or self.sha256 is None or self.url is not None:
            raise ValueError('a weights package was given, expected path and sha256 with it and '
                             'no url')
        if PurePosixPath(self.path).is_absolute() or '..' in PurePosixPath(self.path).parts:
            raise ValueError(f'the path of the weights is {self.path!r}, expected a path within '
                             f'the package {self.package}')
        return self


class AggregatorConfig(Settings):
    """Aggregation of successive frames to one sequence descriptor."""

    aggregator: Annotated[str, BeforeValidator(_check_aggregator)] = Field(
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
        """Check that the aggregator can describe sequences of this length, whatever its weights.

        Raises:
            ValueError: it cannot; the message says why.
        """
        check = AGGREGATORS.get(self.aggregator).check_length
        if check is not None:
            check(self, length)


class ProjectionConfig(Settings):
    """Projection of frame descriptors for frame-by-frame sequence matching.

    A SeqNet with kernel 1, applied to single frames: the S1 of the SeqNet paper's hierarchical
    search, whose first stage compares sequence descriptors of the unprojected frames.
    """

    out_dim: int | None = Field(
        None, ge=1, le=65536, description='Output size; none keeps the input size.')
    weights: WeightsConfig = WeightsConfig()


class ReductionConfig(Settings):
    """Shorter frame descriptors, for every use of them; `projection` is for sequence matching only.

    A linear layer behind the frame descriptor of each camera, then unit length.
    """

    kind: Literal['pca', 'random'] = Field(
        'pca', description='Principal components, fitted by `seqnet_ros models fit-reduction`, or '
                           'random signs, which need no fitting.')
    dim: int = Field(ge=1, le=65536, description='Length of the vectors.')
    seed: int = Field(0, ge=0, exclude_if=lambda seed: seed == 0,
                      description='Of the random signs.')
    weights: WeightsConfig = WeightsConfig()


class ModelConfig(Settings):
    """A model: all settings that determine its descriptors."""

    name: str = Field('hog', pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]*$')
    description: str = ''
    image: ImageConfig = ImageConfig()
    cameras: int = Field(
        1, ge=1, le=16, exclude_if=lambda cameras: cameras == 1,
        description='Number of cameras whose simultaneous images are described as one place.')
    frame: Annotated[SerializeAsAny[FrameConfig], BeforeValidator(_parse_frame)] = Field(
        default_factory=lambda: DESCRIPTORS.get('hog').config.model_validate({}))
    weights: WeightsConfig = WeightsConfig()
    centring: bool = Field(
        True, description='Subtract the mean descriptor of each drive before normalization.')
    reduction: ReductionConfig | None = Field(
        None, exclude_if=lambda reduction: reduction is None,
        description='Shortens the frame descriptors; none keeps their length.')
    sequence: AggregatorConfig = AggregatorConfig()
    projection: ProjectionConfig | None = Field(
        None, exclude_if=lambda projection: projection is None,
        description='Projection of frames for sequence matching; none compares the frame '
                    'descriptors unchanged.')

    @model_validator(mode='before')
    @classmethod
    def _a_network_is_its_weights(cls, values: Any) -> Any:
        """Take the path of a network that is a file for that of its weights."""
        frame = values.get('frame') if isinstance(values, Mapping) else None
        if not isinstance(frame, Mapping) or 'path' not in frame:
            return values
        kind = DESCRIPTORS.find(frame.get('kind'))
        if kind is None or not kind.config.is_file:
            return values
        weights = values.get('weights', {})
        if not isinstance(weights, Mapping):
            return values
        if 'path' in weights:
            raise ValueError('both frame.path and weights.path were given, expected one of them')
        return {**values, 'weights': {**weights, 'path': frame['path']},
                'frame': {name: value for name, value in frame.items() if name != 'path'}}

    @model_validator(mode='before')
    @classmethod
    def _a_projection_is_no_reduction(cls, values: Any) -> Any:
        projection = values.get('projection') if isinstance(values, Mapping) else None
        if isinstance(projection, Mapping) and {'kind', 'dim'} & projection.keys():
            raise ValueError('projection is a SeqNet for sequence matching and has no kind and '
                             'dim, expected reduction: {kind: pca, dim: ...} for shorter '
                             'descriptors')
        return values

    @model_validator(mode='after')
    def _unit_vectors_are_reduced(self) -> 'ModelConfig':
        if self.reduction is not None and not self.frame.normalizes:
            raise ValueError('a reduction needs frame descriptors of unit length, found '
                             f'{self.frame.label}')
        return self

    @model_validator(mode='after')
    def _projection_sees_frames_once(self) -> 'ModelConfig':
        if self.projection is not None and self.centring:
            raise ValueError('a projection needs centring: false, because it is applied to every '
                             'frame once while the mean of the drive changes')
        return self

    @model_validator(mode='after')
    def _sums_are_summed(self) -> 'ModelConfig':
        sums = self.frame.vlad_clusters is not None
        if sums != AGGREGATORS.get(self.sequence.aggregator).sums_frames:
            raise ValueError('vlad_sums pooling and the seqvlad aggregator require each other, '
                             f'found {self.frame.label} and {self.sequence.aggregator}')
        if not self.normalises_frames and (self.centring or self.projection is not None):
            found = 'seqvlad' if sums else 'pooling with normalise: false'
            raise ValueError(f'{found} needs centring: false and no projection, because its frames '
                             'must not be modified')
        if sums and self.cameras > 1:
            raise ValueError(f'seqvlad supports a single camera, found cameras: {self.cameras}')
        return self

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the descriptors, without weights, as JSON values."""
        return self.model_dump(mode='json', exclude={
            'name': True, 'description': True, 'weights': True, 'sequence': {'weights'},
            'projection': {'weights'}, 'reduction': {'weights'}})

    @property
    def normalises_frames(self) -> bool:
        """Whether frames have unit length; the sums that SeqVLAD adds up do not."""
        return self.frame.normalizes

    @property
    def projects_frames(self) -> bool:
        """Whether frames are described once more for sequence matching."""
        return self.projection is not None or not self.normalises_frames
