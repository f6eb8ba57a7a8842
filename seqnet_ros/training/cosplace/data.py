"""Images by class for CosPlace's training, and images with positions for its validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.sf_xl import (
    ImageList,
    Partition,
    partition_images,
    published_class_order,
    read_image_list,
    read_positions,
    read_views,
)
from seqnet_ros.evaluation.metrics.ground_truth import (
    GroundTruth,
    matches_within,
    recall_at,
    require_matches,
)
from seqnet_ros.evaluation.nearest_neighbors import nearest_descriptors
from seqnet_ros.training.common.image_reading import ImageSize, read_resized, stack
from seqnet_ros.training.cosplace.config import ImageTrainingConfig

RECALL_NS = (1, 5, 10, 20)

_FEWEST_CLASSES = 2
_ORDER, _IMAGE = range(2)


class ImageBatch(NamedTuple):
    """Images of one step.

    Attributes:
        pixels: uint8 ``[B, S, S, 3]``, RGB.
        labels: int64 ``[B]``, rows of the group's classifier.
        rows: int64 ``[B]``, which images of the step, over all processes, these are.
        complaints: errors of images that could not be read.
    """

    pixels: Tensor
    labels: Tensor
    rows: Tensor
    complaints: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ImageClasses:
    """Images sorted into classes and groups.

    Attributes:
        images: all of them.
        partition: their classes and groups.
    """

    images: ImageList
    partition: Partition

    @classmethod
    def of(cls, folder: str | PathLike[str], config: ImageTrainingConfig) -> 'ImageClasses':
        """Sort the images of a folder such as ``sf_xl/processed/train``.

        Raises:
            InputError: there are no images, their names lack something, no class has enough of
                them, or a group that would be trained has a single class.
        """
        images = read_image_list(folder)
        classes = cls(images, partition_images(read_views(images), config.cells))
        for group in range(classes.groups(config)):
            found = len(classes.partition.classes_of(group))
            if found < _FEWEST_CLASSES:
                raise InputError(
                    f'group {group} of the images in {folder} has {found} class, expected at least '
                    f'{_FEWEST_CLASSES}: use more images, smaller cells_apart or angles_apart, or '
                    'fewer groups')
        return classes

    def groups(self, config: ImageTrainingConfig) -> int:
        """Return the number of groups that are trained in turn."""
        return min(config.groups, len(self.partition.groups))

    def classes_of(self, group: int) -> np.ndarray:
        """Return the rows of ``partition.classes`` in the order of the group's classifier.

        It is that of the published code, so that classifiers can be exchanged.
        """
        rows = self.partition.classes_of(group)
        return rows[published_class_order(self.partition.classes[rows])]


class ImageStream:
    """The images of an epoch: every class once in random order, then all of them again.

    Each step depends on the seed, the epoch and its number alone.
    """

    def __init__(self, classes: ImageClasses, group: int, epoch: int,
                 config: ImageTrainingConfig) -> None:
        self._classes, self._rows = classes, classes.classes_of(group)
        self._epoch, self._batch, self._seed = epoch, config.image_batch_size, config.seed
        self._size = ImageSize(config.image_size, config.image_size)
        self._shuffled: tuple[int, np.ndarray] | None = None

    def read(self, step: int, rank: int = 0, world: int = 1) -> ImageBatch:
        """Read the images of a step, or this process's share of them.

        An image that cannot be read is replaced by another one of its class. A class without any
        readable image is skipped.
        """
        images, labels, rows = [], [], []
        complaints: list[str] = []
        for row in range(rank, self._batch, world):
            position = step * self._batch + row
            label = self._label(position)
            image = self._read_one(label, position, complaints)
            if image is not None:
                images.append(image)
                labels.append(label)
                rows.append(row)
        pixels = stack(images, rows, self._size, tuple(complaints))
        return ImageBatch(pixels.pixels, torch.tensor(labels, dtype=torch.int64), pixels.rows,
                          pixels.complaints)

    def _label(self, position: int) -> int:
        turn, place = divmod(position, len(self._rows))
        shuffled = self._shuffled  # any of several threads may replace it
        if shuffled is None or shuffled[0] != turn:
            generator = np.random.default_rng([self._seed, self._epoch, _ORDER, turn])
            self._shuffled = shuffled = turn, generator.permutation(len(self._rows))
        return int(shuffled[1][place])

    def _read_one(self, label: int, position: int, complaints: list[str]) -> np.ndarray | None:
        rows = self._classes.partition.images_of(int(self._rows[label]))
        generator = np.random.default_rng([self._seed, self._epoch, _IMAGE, position])
        for row in np.roll(rows, -int(generator.integers(len(rows)))).tolist():
            try:
                return read_resized(self._classes.images.path(row), self._size)
            except InputError as error:
                complaints.append(str(error))
        return None


@dataclass(frozen=True, eq=False)
class ImageSearch:
    """Single images to search among others: how a network for single images is validated.

    Attributes:
        database: images that are searched.
        queries: images to search for.
        db_positions: UTM easting and northing, meters, float64 ``[N, 2]``.
        q_positions: the same, ``[M, 2]``.
    """

    database: ImageList
    queries: ImageList
    db_positions: np.ndarray
    q_positions: np.ndarray

    @classmethod
    def of(cls, folder: str | PathLike[str], radius: float) -> 'ImageSearch':
        """List the images in ``database`` and ``queries`` of a folder such as ``processed/val``.

        Raises:
            InputError: one of them is missing or empty, a name lacks its position, or no query
                has a place within the radius.
        """
        database, queries = (read_image_list(Path(folder) / side)
                             for side in ('database', 'queries'))
        search = cls(database, queries, read_positions(database), read_positions(queries))
        require_matches(search._truth(radius))
        return search

    def recalls(self, database: np.ndarray, queries: np.ndarray, lost: Sequence[np.ndarray],
                radius: float) -> dict[int, float]:
        """Return Recall@n as CosPlace counts it: of all queries, including those without a place.

        Args:
            database: float32 ``[N, D]``.
            queries: float32 ``[M, D]``.
            lost: bool ``[N]`` and ``[M]``, images without a descriptor; they are skipped.
            radius: meters, inclusive.

        Raises:
            InputError: no query has a place within the radius.
        """
        kept, asked = (~mask for mask in lost)
        truth = self._truth(radius, kept, asked)
        found = nearest_descriptors(queries[asked], database[kept], np.arange(kept.sum()),
                                    max(RECALL_NS))
        recalls = recall_at(found.indices, truth, RECALL_NS)
        share = recalls.queries / (recalls.queries + recalls.unmatched)
        return {n: value * share for n, value in recalls.values.items()}

    def _truth(self, radius: float, kept: np.ndarray | slice = slice(None),
               asked: np.ndarray | slice = slice(None)) -> GroundTruth:
        return matches_within(self.db_positions[kept], self.q_positions[asked], radius)
