"""Settings of SeqNet training; the defaults are those of the published code."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from seqnet_ros.config.settings import Settings
from seqnet_ros.training.common.settings import parse_settings


class SeqNetTrainingConfig(Settings):
    """Network, tuples and schedule of one training (Garg and Milford, RA-L 2021, section IV)."""

    length: int = Field(5, ge=1, le=1000, description='Frames per sequence, L.')
    kernel: int = Field(3, ge=1, le=100, description='Width w of the temporal convolution, frames.')
    out_dim: int | None = Field(
        None, ge=1, le=65536,
        description='Length of the sequence descriptors; none uses the length of the '
                    'frame descriptors.')
    epochs: int = Field(200, ge=1, le=100_000, description='Number of passes over the queries.')
    batch_size: int = Field(
        16, ge=1, le=65536, description='Tuples per step, over all processes.')
    optimizer: Literal['sgd', 'adam'] = Field(
        'sgd', description='Optimizer; adam keeps its rate and has no weight decay.')
    lr: float = Field(1e-4, gt=0, le=10, description='Initial learning rate.')
    lr_step: int = Field(50, ge=1, description='Epochs after which the learning rate is reduced.')
    lr_gamma: float = Field(
        0.5, gt=0, le=1, description='Factor by which the learning rate is reduced.')
    momentum: float = Field(0.9, ge=0, lt=1, description='Momentum of sgd.')
    weight_decay: float = Field(1e-3, ge=0, le=1, description='Weight decay of sgd.')
    margin: float = Field(
        0.1, gt=0, le=4, description='Squared margin of the distances.')
    negatives: int = Field(10, ge=1, le=1000, description='Maximum number of negatives in a tuple.')
    drawn: int = Field(
        1000, ge=1, le=1_000_000,
        description='Places sampled for each query, among which the hardest negatives are '
                    'selected.')
    refresh_every: int = Field(
        0, ge=0, description='Queries after which descriptors are recomputed for tuple selection; '
                             '0 is once per epoch.')
    validate_every: int = Field(1, ge=1, description='Epochs between two validations.')
    patience: int = Field(
        0, ge=0, description='Validations without a better Recall@5 after which training stops; 0 '
                             'disables this.')
    seed: int = Field(123, ge=0, lt=2**31, description='Seed of weights, sampling and order.')

    @model_validator(mode='after')
    def _kernel_fits(self) -> 'SeqNetTrainingConfig':
        if self.length < self.kernel:
            raise ValueError(f'sequences of {self.length} frames are shorter than the kernel of '
                             f'{self.kernel}')
        return self

    def flags(self) -> dict[str, Any]:
        """Return the settings by the names that the published code gives them."""
        return {
            'seqL': self.length, 'w': self.kernel, 'outDims': self.out_dim,
            'nEpochs': self.epochs, 'batchSize': self.batch_size,
            'optim': self.optimizer.upper(), 'lr': self.lr, 'lrStep': self.lr_step,
            'lrGamma': self.lr_gamma, 'momentum': self.momentum,
            'weightDecay': self.weight_decay, 'margin': self.margin,
            'cacheRefreshRate': self.refresh_every, 'evalEvery': self.validate_every,
            'patience': self.patience * self.validate_every, 'seed': self.seed}


def parse_training_config(values: Mapping[str, Any], origin: str) -> SeqNetTrainingConfig:
    """Check settings of a training.

    Raises:
        InputError: a setting is unknown or out of range; the message names it.
    """
    return parse_settings(SeqNetTrainingConfig, values, origin)
