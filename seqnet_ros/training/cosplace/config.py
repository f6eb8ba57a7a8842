"""Settings of CosPlace training, and those that JIST shares; the defaults are the published ones.

Berton, Masone and Caputo, "Rethinking Visual Geo-localization for Large-Scale Applications",
CVPR 2022.
"""

from typing import Literal

from pydantic import Field

from seqnet_ros.datasets.jist.sf_xl import Cells
from seqnet_ros.training.cosplace.augmentation import AugmentationConfig

BatchNormUpdate = Literal['all', 'trained', 'none']


class ImageTrainingConfig(AugmentationConfig):
    """Settings of the training on classes of images."""

    fc_dim: int | None = Field(
        None, ge=1, le=65536,
        description='Length of the frame descriptors after a linear layer; none keeps that of the '
                    'frame model.')
    frozen_layers: int | None = Field(
        None, ge=0, le=64,
        description='Number of frozen layers of the trunk, counted like `frame.layer` of a model; '
                    '0 trains all, none is as published.')
    update_batch_norm: BatchNormUpdate = Field(
        'all', description='Batch norms whose statistics are updated during training: all, '
                           'including frozen layers (as published), those of trained layers, or '
                           'none.')
    epochs: int = Field(ge=1, le=100_000, description='Epochs; each trains one group of classes.')
    image_batch_size: int = Field(
        ge=1, le=65536, description='Images in one step, over all processes.')
    lr: float = Field(1e-5, gt=0, le=10, description='Learning rate of the network, Adam.')
    classifier_lr: float = Field(1e-2, gt=0, le=10, description='Learning rate of a classifier.')
    image_size: int = Field(
        512, ge=16, le=4096, description='Edge length of the square training images, pixels.')
    groups: int = Field(
        8, ge=1, le=10_000,
        description='Groups of classes, trained one per epoch in rotation; each has a classifier.')
    cell_side: int = Field(10, ge=1, description='Edge length of the ground cells, meters (M).')
    cell_angle: int = Field(30, ge=1, le=360, description='Sector of headings, degrees (alpha).')
    cells_apart: int = Field(
        5, ge=1, description='Distance between two classes of a group, cells (N).')
    angles_apart: int = Field(
        2, ge=1, description='Distance between two classes of a group, sectors (L).')
    min_images: int = Field(10, ge=1, description='Classes with fewer images are not used.')
    radius: float = Field(
        25.0, gt=0, description='Radius within which a place is correct in the validation, meters.')
    seed: int = Field(0, ge=0, lt=2**31, description='Seed of weights, sampling and order.')

    @property
    def cells(self) -> Cells:
        """Division of images into classes and groups."""
        return Cells(self.cell_side, self.cell_angle, self.cells_apart, self.angles_apart,
                     self.min_images)


class CosPlaceTrainingConfig(ImageTrainingConfig):
    """CosPlace: images alone."""

    epochs: int = Field(
        50, ge=1, le=100_000, description='Epochs; each trains one group of classes.')
    iterations: int = Field(10_000, ge=1, le=10_000_000, description='Steps per epoch.')
    image_batch_size: int = Field(
        32, ge=1, le=65536, description='Images in one step, over all processes.')
