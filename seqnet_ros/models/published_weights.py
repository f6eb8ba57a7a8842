"""The published weights of a model: where they are, under which license, and fetching them."""

from dataclasses import dataclass
from pathlib import Path

from seqnet_ros.config.model import WeightsConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.download import (
    Limits,
    Progress,
    cached_path,
    fetch,
    find_cached,
    remote_size,
)
from seqnet_ros.descriptors.weights import local_path
from seqnet_ros.models.licenses import UNKNOWN, is_free
from seqnet_ros.models.model_weights import is_here, needed_weights
from seqnet_ros.models.place_model import load_preset


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that is not on this machine.

    Attributes:
        url: address at its publisher.
        sha256: its hash, where it is known.
        path: where it will be, or where it was looked for.
        manual_path: where to put it by hand.
    """

    url: str
    sha256: str | None
    path: Path
    manual_path: Path

    def size(self, limits: Limits) -> int | None:
        """Return the number of bytes, where the publisher's server states it.

        Raises:
            ModelError: the server cannot be reached; the message says where to put the file.
        """
        try:
            return remote_size(self.url, limits)
        except ModelError as error:
            raise self._explained(error) from error

    def fetch(self, limits: Limits, progress: Progress) -> Path:
        """Download the file to the cache, see `seqnet_ros.descriptors.download.fetch`.

        Raises:
            ModelError: it cannot be downloaded; the message says where to put it.
        """
        try:
            return fetch(self.url, self.sha256, limits, progress)
        except ModelError as error:
            raise self._explained(error) from error

    def _explained(self, error: ModelError) -> ModelError:
        return ModelError(f'{error} (without a network, place it at {self.manual_path})')


@dataclass(frozen=True)
class PublishedWeights:
    """What is missing of the weights of a model.

    Attributes:
        files: the missing files that can be downloaded.
        by_hand: for every other missing file a sentence that says where it comes from.
        license: license of the weights, or `UNKNOWN`.
        paper: the paper that describes the model, where there is one.
    """

    files: tuple[PublishedFile, ...]
    by_hand: tuple[str, ...]
    license: str
    paper: str | None

    @property
    def is_free(self) -> bool:
        """Whether the license permits every use."""
        return is_free(self.license)


def published_weights(name_or_path: str | Path) -> PublishedWeights:
    """Return what is missing of the weights of a model.

    Raises:
        ModelError: there is no such model.
    """
    preset, folder = load_preset(name_or_path)
    name = preset.model.name
    missing = [weights for weights in needed_weights(preset.model)
               if not is_here(weights, folder) or _is_damaged(weights, folder)]
    files = tuple(_published(weights.url, weights, folder)
                  for weights in missing if weights.url is not None)
    by_hand = tuple(_by_hand(weights, folder, name) for weights in missing if weights.url is None)
    return PublishedWeights(files, by_hand, preset.license or UNKNOWN, preset.paper)


def _is_damaged(weights: WeightsConfig, folder: Path) -> bool:
    """Return whether weights come from the cache, and are not what was downloaded."""
    beside = weights.path is not None and local_path(weights.path, folder).is_file()
    if weights.url is None or beside:
        return False
    try:
        find_cached(weights.url, weights.sha256)
    except ModelError:
        return True
    return False


def _published(url: str, weights: WeightsConfig, folder: Path) -> PublishedFile:
    path = cached_path(url, weights.sha256)
    manual = path if weights.path is None else local_path(weights.path, folder)
    return PublishedFile(url, weights.sha256, path, manual)


def _by_hand(weights: WeightsConfig, folder: Path, name: str) -> str:
    if weights.path is None:
        return f'model {name} names no weights: set the path of a file of your own'
    page = f'get it from {weights.page} and ' if weights.page else ''
    return (f'{Path(weights.path).name} of model {name} has no address to download from: {page}'
            f'place it at {local_path(weights.path, folder)}')
