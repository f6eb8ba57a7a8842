"""NetVLAD and VLAD from images alone: clusters, soft assignment and whitening for a given trunk.

Arandjelovic et al., "NetVLAD: CNN architecture for weakly supervised place recognition",
CVPR 2016: what its training starts from, and the whitening that follows its training. VLAD with
hard assignment needs no more than the clusters.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import torch

from seqnet_ros.config.model import ModelConfig
from seqnet_ros.config.preset import Preset, parse_preset
from seqnet_ros.core.batches import batches
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk, image_reader, warn_damaged
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.descriptors.device import Device
from seqnet_ros.descriptors.frame_network import FrameNetwork, network_dim
from seqnet_ros.descriptors.network import (
    VISION_TRANSFORMERS,
    CellsConfig,
    NetVladConfig,
    NetworkConfig,
    VladConfig,
    VladSumsConfig,
)
from seqnet_ros.descriptors.network_describer import NetworkDescriber
from seqnet_ros.descriptors.weights import (
    TRUNK_LAYOUTS,
    Tensors,
    find_weights,
    load_strictly,
    read_trunk,
    repeatable_random,
)
from seqnet_ros.maps.index import one_faiss_thread
from seqnet_ros.training.common.described_images import IMAGES_AT_ONCE, described_images
from seqnet_ros.training.common.model_files import WeightsFile, document_of, write_model
from seqnet_ros.training.common.whitening import fit_whitening

CLUSTER_IMAGES = 500
"""Number of images whose local features are clustered: 100 features each give the 50,000 that
NetVLAD uses."""

_ITERATIONS = 100
_RATIO = 0.01
_LAYER = 'aggregation.0.'
_WHITENING = 'aggregation.1.'


@dataclass(frozen=True)
class Sampling:
    """Images and settings of a fit.

    Attributes:
        images: most images used, drawn at random.
        features_per_image: local features drawn of each image that is clustered.
        seed: of the draws and of the clustering.
    """

    images: int = 10_000
    features_per_image: int = 100
    seed: int = 0


@dataclass(frozen=True)
class NetVladFit:
    """The outcome.

    Attributes:
        tensors: of the whole `FrameNetwork`, float32.
        dim: length of a frame descriptor.
        images: number of images used.
        explained: share of the variance that the whitening keeps; None without whitening.
    """

    tensors: Tensors
    dim: int
    images: int
    explained: float | None


def netvlad_to_fit(preset: Preset, clusters: int | None = None,
                   wpca_dim: int | None = None) -> Preset:
    """Return the content of a model file with another size of NetVLAD, VLAD or SeqVLAD's sums.

    Args:
        preset: the model file.
        clusters: number of clusters, the model's where None.
        wpca_dim: length after whitening, the model's where None.

    Raises:
        ModelError: the model has no NetVLAD, or a SeqNet that was trained on other descriptors, or
            a size is out of range.
    """
    config = preset.model
    frame = config.frame
    if not isinstance(frame, NetworkConfig) or not isinstance(
            frame.pooling, NetVladConfig | VladSumsConfig | VladConfig):
        raise ModelError(f'model {config.name} has {frame.label}, expected a network with netvlad '
                         'or vlad pooling')
    if config.sequence.aggregator == 'seqnet' or config.projection is not None:
        raise ModelError(f'model {config.name} has a SeqNet trained on other frame descriptors, '
                         'expected a model without')
    document = preset.document(exclude_unset=True)
    sizes = {'clusters': clusters, 'wpca_dim': wpca_dim}
    document['frame']['pooling'].update(
        {name: size for name, size in sizes.items() if size is not None})
    preset = parse_preset(document, f'model {config.name}')
    config = preset.model
    length = network_dim(_without_whitening(config), config.image)
    wanted = network_dim(_network_of(config), config.image)
    if wanted > length:
        raise ModelError(f'wpca_dim is {wanted}, expected at most the {length} values of the '
                         'NetVLAD vectors')
    return preset


def load_trunk(config: ModelConfig, base_dir: Path, weights: Path | None) -> Tensors:
    """Return the tensors of the trunk, under their names in `FrameNetwork`.

    Args:
        config: a model with NetVLAD.
        base_dir: folder of the model's file.
        weights: file with the names of torchvision, or of DINOv2 for a vision transformer; None
            takes the model's own, if they are such.

    Raises:
        ModelError: there are no weights for a trunk, or they do not fit it.
    """
    frame = _trunk_of(config)
    layout = 'dinov2' if frame.backbone in VISION_TRANSFORMERS else 'torchvision'
    if weights is None and config.weights.layout in TRUNK_LAYOUTS:
        weights = find_weights(config.weights, base_dir)
    if weights is not None:
        with torch.device('meta'):
            network = FrameNetwork(frame, config.image)
        tensors = read_trunk(weights.expanduser(), len(network.backbone), layout)
        load_strictly(network, tensors, str(weights))
    elif config.weights.random:
        with repeatable_random():
            network = FrameNetwork(frame, config.image)
    else:
        raise ModelError(f'model {config.name} has no separate weights of {frame.backbone}: pass '
                         f"trunk weights in {'DINOv2' if layout == 'dinov2' else layout}'s layout")
    return dict(network.state_dict())


def images_to_read(config: ModelConfig, available: int, sampling: Sampling) -> int:
    """Return how many images a fit reads, those of the clustering twice if it has a whitening."""
    used = min(available, sampling.images)
    clustered = min(used, CLUSTER_IMAGES)
    return clustered if _pooling_of(config).wpca_dim is None else clustered + used


def fit_netvlad(config: ModelConfig, trunk: Tensors, source: FrameSource,
                device: Device, sampling: Sampling, scratch: Path,
                progress: Callable[[int], None] = lambda _: None) -> NetVladFit:
    """Fit clusters and whitening to images; the same images and seed give the same model.

    Damaged images are skipped.

    Memory holds the products between the images ``[N, N]`` in float64 and the whitening
    ``[wpca_dim, D]``, but not the ``[N, D]`` vectors: these go to a temporary file.

    Args:
        config: the model, see `netvlad_to_fit`.
        trunk: its weights, see `load_trunk`.
        source: images similar to those that the model will describe.
        device: where the network runs.
        sampling: random samples of these images.
        scratch: folder of the temporary file.
        progress: called with the number of images read, of `images_to_read`.

    Raises:
        InputError: there are too few images, or they are too similar.
    """
    pooling = _pooling_of(config)
    random = np.random.default_rng(sampling.seed)
    drawn = random.permutation(len(source))[:sampling.images]
    _check_count(len(drawn), pooling)

    read = _Counter(progress)
    walk = _walk(source, drawn[:CLUSTER_IMAGES], read)
    features = local_features(
        _describer(config, _trunk_of(config), trunk, device),
        _images(walk, source.name), sampling.features_per_image, random)
    tensors = {**trunk, **_fit_layer(pooling, features, sampling.seed)}
    dim = network_dim(_network_of(config), config.image)
    if pooling.wpca_dim is None:
        warn_damaged(walk.damaged, walk.total)
        return NetVladFit(tensors, dim, walk.used, None)
    describer = _describer(config, _without_whitening(config), tensors, device)
    walk = _walk(source, drawn, read)
    with described_images(describer, _images(walk, source.name), scratch) as vectors:
        warn_damaged(walk.damaged, walk.total)
        _check_count(walk.used, pooling)
        whitening = fit_whitening(vectors, pooling.wpca_dim)
    tensors[f'{_WHITENING}weight'] = torch.from_numpy(whitening.weight)
    tensors[f'{_WHITENING}bias'] = torch.from_numpy(whitening.bias)
    return NetVladFit(tensors, dim, walk.used, whitening.explained)


def write_fit(path: Path, preset: Preset, base_dir: Path, fit: NetVladFit) -> Preset:
    """Write a model file of a fit, with its weights beside it.

    Args:
        path: the new file, see `new_model_path`.
        preset: the model file that was fitted, see `netvlad_to_fit`.
        base_dir: folder of that model's file.
        fit: the outcome.

    Returns:
        The model as written; paths are relative to its file.

    Raises:
        InputError: a file cannot be written.
    """
    document = document_of(preset, base_dir)
    frame = _network_of(preset.model)
    name = 'VLAD' if isinstance(frame.pooling, VladConfig) else 'NetVLAD'
    document.update(
        name=path.stem,
        description=f'{name} on {frame.backbone}, {fit.dim} dimensions, fitted to {fit.images} '
                    'images.')
    return write_model(path, document, [WeightsFile('.safetensors', document, fit.tensors)])


def local_features(describer: NetworkDescriber, images: Iterable[np.ndarray], per_image: int,
                   random: np.random.Generator) -> np.ndarray:
    """Return local features float32 ``[N, C]`` at random positions of the images.

    Args:
        describer: its trunk makes the features.
        images: RGB uint8 ``[H, W, 3]``.
        per_image: features drawn of each image; all where there are fewer.
        random: random generator.
    """
    parts = []
    for batch in batches(images, IMAGES_AT_ONCE):
        maps = describer.maps(batch)
        for features in maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1):
            parts.append(features[random.permutation(len(features))[:per_image]])
    return np.concatenate(parts)


def cluster(features: np.ndarray, clusters: int, seed: int, *,
            spherical: bool = False) -> np.ndarray:
    """Return the centers of k-means, float32 ``[K, C]``, the same ones every time.

    Args:
        features: float32 ``[N, C]``.
        clusters: number K of centers.
        seed: of the first centers.
        spherical: the features are unit vectors, and so are the centers.

    Raises:
        InputError: there are fewer features than clusters.
    """
    count, channels = features.shape
    if count < clusters:
        raise InputError(f'{count} local features are too few for {clusters} clusters, expected at '
                         'least as many features')
    kmeans = faiss.Kmeans(channels, clusters, niter=_ITERATIONS, seed=seed, spherical=spherical,
                          min_points_per_centroid=1, max_points_per_centroid=count)
    with one_faiss_thread():
        kmeans.train(features)
    return np.asarray(kmeans.centroids, dtype=np.float32)


def cluster_by_angle(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Return the centers of spherical k-means, float32 ``[K, C]``, the same ones every time.

    Each is the mean of the features nearest by angle, so that residuals sum to 0 over the features.

    Args:
        features: unit vectors, float32 ``[N, C]``.
        clusters: number K of centers.
        seed: of the first centers.

    Raises:
        InputError: there are fewer features than clusters.
    """
    directions = cluster(features, clusters, seed, spherical=True)
    nearest = (features @ directions.T).argmax(axis=1)
    means = [features[nearest == number].mean(axis=0) if (nearest == number).any() else direction
             for number, direction in enumerate(directions)]
    return np.stack(means).astype(np.float32)


def soft_assignment(centroids: np.ndarray, features: np.ndarray,
                    bias: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return weights ``[K, C]`` and bias ``[K]`` (or None) of the layer in front of the softmax.

    The sharpness alpha is such that the second nearest cluster gets a hundredth of what the
    nearest gets, for a feature of average distances. With a bias the assignment goes by squared
    distances, ``alpha * (2 c @ x - c @ c)``; without one by products with the directions of the
    centers.

    Args:
        centroids: float32 ``[K, C]``, K at least 2.
        features: float32 ``[N, C]``.
        bias: whether the layer has a bias.

    Raises:
        InputError: the features do not tell the clusters apart.
    """
    if len(centroids) < 2:
        raise InputError(f'found {len(centroids)} cluster, expected at least 2')
    squares = np.square(centroids).sum(axis=1)
    if bias:
        weight, offset = 2 * centroids, -squares
    else:
        weight = centroids / np.maximum(np.sqrt(squares), np.float32(1e-12))[:, None]
        offset = np.zeros_like(squares)
    nearest = np.sort(features @ weight.T + offset, axis=1)[:, -2:]
    gap = float((nearest[:, 1] - nearest[:, 0]).mean(dtype=np.float64))
    if not gap > 0:
        raise InputError('the local features of the images are all identical, expected images with '
                         'texture')
    alpha = np.float32(-math.log(_RATIO) / gap)
    return alpha * weight, alpha * offset if bias else None


class _Counter:
    """Counts the images read."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._done = 0

    def add(self) -> None:
        self._done += 1
        self._progress(self._done)


def _check_count(images: int, pooling: NetVladConfig | VladConfig) -> None:
    """Check in advance what the whitening would report after hours."""
    if pooling.wpca_dim is not None and images <= pooling.wpca_dim:
        raise InputError(f'{images} images cannot give a whitening of {pooling.wpca_dim} '
                         'dimensions, expected more images than dimensions')


def _network_of(config: ModelConfig) -> NetworkConfig:
    assert isinstance(config.frame, NetworkConfig)
    return config.frame


def _pooling_of(config: ModelConfig) -> NetVladConfig | VladConfig:
    """Return the NetVLAD or VLAD of a model; that of VLAD sums has no whitening."""
    pooling = _network_of(config).pooling
    if isinstance(pooling, VladSumsConfig):
        return NetVladConfig(clusters=pooling.clusters, normalise_input=pooling.normalise_input)
    assert isinstance(pooling, NetVladConfig | VladConfig)
    return pooling


def _without_whitening(config: ModelConfig) -> NetworkConfig:
    pooling = _pooling_of(config).model_copy(update={'wpca_dim': None})
    return _network_of(config).model_copy(update={'pooling': pooling})


def _trunk_of(config: ModelConfig) -> NetworkConfig:
    """Return the network with a pooling that has no weights."""
    return _network_of(config).model_copy(update={'pooling': CellsConfig()})


def _describer(config: ModelConfig, frame: NetworkConfig, tensors: Tensors,
               device: Device) -> NetworkDescriber:
    with torch.device('meta'):
        network = FrameNetwork(frame, config.image)
    load_strictly(network, tensors, config.name)
    return NetworkDescriber(network, config.image, device, frame.backbone, {})


def _fit_layer(pooling: NetVladConfig | VladConfig, features: np.ndarray, seed: int) -> Tensors:
    if isinstance(pooling, VladConfig):
        centroids = cluster_by_angle(normalize_rows(features), pooling.clusters, seed)
        return {f'{_LAYER}centroids': torch.from_numpy(centroids)}
    if pooling.normalise_input:
        features = normalize_rows(features)
    centroids = cluster(features, pooling.clusters, seed)
    return _layer_tensors(centroids, *soft_assignment(centroids, features, pooling.bias))


def _layer_tensors(centroids: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> Tensors:
    layer = {'centroids': torch.from_numpy(centroids),
             'conv.weight': torch.from_numpy(weight)[:, :, None, None]}
    if bias is not None:
        layer['conv.bias'] = torch.from_numpy(bias)
    return {_LAYER + name: tensor for name, tensor in layer.items()}


def _walk(source: FrameSource, drawn: np.ndarray, read: _Counter) -> FrameWalk[Frame]:
    """Return a walk through the drawn images, in the order of the recording."""
    wanted = set(drawn.tolist())
    return FrameWalk((frame for frame in source if frame.index in wanted),
                     progress=lambda _: read.add())


def _images(walk: FrameWalk[Frame], name: str) -> Iterator[np.ndarray]:
    """Yield the images of a walk, of which at least one must be readable."""
    for _, image in walk.results(lambda frame: image_reader(frame)()):
        yield image
    walk.require_used(name)
