"""SeqVLAD: NetVLAD over the local features of all frames of a sequence.

Mereu et al., "Learning Sequential Descriptors for Sequence-based Visual Place Recognition", RA-L
2022. The residual sums of a set of local features are the sums over its parts, so every frame is
described once, by its own sums (`VladSums`), however many sequences it is part of.
"""

from torch import Tensor
from torch.nn.functional import normalize

from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.sequences.aggregator import FrameShape, SequenceAggregator


class SeqVlad(SequenceAggregator):
    """Adds up the residual sums of the frames and normalizes them as NetVLAD does.

    A sequence of one frame gives the NetVLAD descriptor of that frame.

    Args:
        clusters: number K of clusters.
    """

    def __init__(self, clusters: int) -> None:
        super().__init__()
        self.clusters = clusters

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'SeqVlad':
        """Create the aggregator of a model.

        Raises:
            ModelError: the frames are not VLAD sums.
        """
        if frames.clusters is None:
            raise ModelError('seqvlad needs frames described by vlad_sums, found others')
        return cls(frames.clusters)

    def forward(self, frames: Tensor) -> Tensor:
        """Map sums ``[B, L, K * C]`` to unit-norm ``[B, K * C]``."""
        sums = frames.sum(dim=1).unflatten(1, (self.clusters, -1))
        return normalize(normalize(sums, dim=2).flatten(1), dim=1)
