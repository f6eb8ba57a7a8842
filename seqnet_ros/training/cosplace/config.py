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
    """What is trained, on which classes of images, and how fast."""

    fc_dim: int | None = Field(
        None, ge=1, le=65536,
        description='Length of the frame descriptors, by a linear layer; none keeps that of the '
                    'frame model.')
    frozen_layers: int | None = Field(
        None, ge=0, le=64,
        description='How many layers of the trunk keep their weights, counted as `frame.layer` of '
                    'a model is; 0 trains all, none is as published.')
    update_batch_norm: BatchNormUpdate = Field(
        'all', description='Which batch norms follow the images of the training: all, also those '
                           'of layers that keep their weights (as published), those of trained '
                           'layers, or none.')
    epochs: int = Field(ge=1, le=100_000, description='Each trains one group of classes.')
    image_batch_size: int = Field(
        ge=1, le=65536, description='Images in one step, over all processes.')
    lr: float = Field(1e-5, gt=0, le=10, description='Learning rate of the network, Adam.')
    classifier_lr: float = Field(1e-2, gt=0, le=10, description='Learning rate of a classifier.')
    image_size: int = Field(
        512, ge=16, le=4096, description='Edge of the square training images, pixels.')
    groups: int = Field(
        8, ge=1, le=10_000,
        description='Groups of classes, one an epoch in turn; each has a classifier.')
    cell_side: int = Field(10, ge=1, description='Edge of the cells of ground, metres (M).')
    cell_angle: int = Field(30, ge=1, le=360, description='Sector of headings, degrees (alpha).')
    cells_apart: int = Field(
        5, ge=1, description='Cells from one class of a group to the next (N).')
    angles_apart: int = Field(
        2, ge=1, description='Sectors from one class of a group to the next (L).')
    min_images: int = Field(10, ge=1, description='Classes with fewer images are left out.')
    radius: float = Field(
        25.0, gt=0, description='In the validation a place within this distance is right, metres.')
    seed: int = Field(0, ge=0, lt=2**31, description='Seed of weights, draws and order.')

    @property
    def cells(self) -> Cells:
        """How classes and groups are cut."""
        return Cells(self.cell_side, self.cell_angle, self.cells_apart, self.angles_apart,
                     self.min_images)


class CosPlaceTrainingConfig(ImageTrainingConfig):
    """CosPlace: images alone."""

    epochs: int = Field(50, ge=1, le=100_000, description='Each trains one group of classes.')
    iterations: int = Field(10_000, ge=1, le=10_000_000, description='Steps in an epoch.')
    image_batch_size: int = Field(
        32, ge=1, le=65536, description='Images in one step, over all processes.')
