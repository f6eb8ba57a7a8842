"""Settings of JIST training; the defaults are those of the published code.

Berton et al., "JIST: Joint Image and Sequence Training for Sequential Visual Place Recognition",
RA-L 2024.
"""

from pydantic import Field, model_validator

from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.training.cosplace.config import ImageTrainingConfig


class JistTrainingConfig(ImageTrainingConfig):
    """JIST: sequences, and images beside them."""

    length: int = Field(5, ge=1, le=1000, description='Frames per sequence.')
    aggregator: str = Field(
        'seqgem', description='Aggregation of frame descriptors to a sequence descriptor, like '
                              '`sequence.aggregator` of a model.')
    epochs: int = Field(
        5, ge=1, le=100_000, description='Epochs; each trains one group of classes.')
    sub_epochs: int = Field(
        10, ge=1, le=10_000, description='Rounds per epoch; each selects new triplets.')
    queries: int = Field(1000, ge=1, le=1_000_000, description='Queries sampled per round.')
    drawn: int = Field(
        3000, ge=1, le=10_000_000,
        description='Places sampled per round, among which the hardest negatives are selected.')
    negatives: int = Field(5, ge=1, le=1000, description='Negatives per query.')
    batch_size: int = Field(
        4, ge=1, le=65536, description='Queries in one step, over all processes.')
    image_batch_size: int = Field(
        64, ge=1, le=65536, description='Images in one step, over all processes.')
    positive_radius: float = Field(
        10.0, gt=0, description='Positives have a frame within this distance, meters.')
    negative_radius: float = Field(
        25.0, gt=0, description='Negatives have no frame within this distance, meters.')
    margin: float = Field(0.1, gt=0, le=10, description='Margin of the distances.')
    sequence_weight: float = Field(10_000.0, gt=0, description='Weight of the triplet loss.')
    image_weight: float = Field(100.0, gt=0, description='Weight of the CosFace loss.')

    @model_validator(mode='after')
    def _makes_sense(self) -> 'JistTrainingConfig':
        if self.positive_radius > self.negative_radius:
            raise ValueError(f'positive_radius {self.positive_radius:g} is above negative_radius '
                             f'{self.negative_radius:g}')
        aggregator = AggregatorConfig.model_validate({'aggregator': self.aggregator})
        aggregator.check_length(self.length)
        return self
