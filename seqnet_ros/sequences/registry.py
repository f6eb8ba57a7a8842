"""The sequence aggregators, each a class of this folder and a line at the end of this file.

Aggregators are named by text and imported when they are used: torch takes seconds to import, which
commands that only read maps do without.
"""

from collections.abc import Callable

from seqnet_ros.config.model import AGGREGATORS, Aggregator, AggregatorConfig


def register_aggregator(
        name: str, build: str | type, *, learned: bool = False, trained: bool = False,
        own_weights: bool = False, sums_frames: bool = False, evaluated: bool = False,
        check_length: Callable[[AggregatorConfig, int], None] | None = None) -> None:
    """Add a sequence aggregator; models name it as `sequence.aggregator`.

    Args:
        name: its name.
        build: a `seqnet_ros.sequences.aggregator.SequenceAggregator` class, or 'module:class'.
        learned: it has weights.
        trained: the weights are of no use before training; otherwise it starts as a mean.
        own_weights: they are in a separate file, never in that of the frame descriptor.
        sums_frames: its frames must be VLAD sums.
        evaluated: `seqnet_ros evaluate --method` compares it; it has no weights, or is SeqNet.
        check_length: raises ValueError for a sequence length that it cannot describe.

    Raises:
        PluginError: there is an aggregator of this name.
    """
    AGGREGATORS.register(name, Aggregator(
        build, learned, trained, own_weights, sums_frames, evaluated, check_length))


def _check_kernel(config: AggregatorConfig, length: int) -> None:
    if length < config.kernel:
        raise ValueError(f'a sequence of {length} frames is shorter than the SeqNet kernel of '
                         f'{config.kernel}')


_SEQNET = 'seqnet_ros.sequences.seqnet_aggregators'
_JIST = 'seqnet_ros.sequences.jist_aggregators'

register_aggregator('smooth', f'{_SEQNET}:Smooth', evaluated=True)
register_aggregator('delta', f'{_SEQNET}:Delta', evaluated=True)
register_aggregator('seqnet', f'{_SEQNET}:SeqNet', learned=True, trained=True, own_weights=True,
                    evaluated=True, check_length=_check_kernel)
register_aggregator('concat', f'{_JIST}:Concat')
register_aggregator('mean', f'{_JIST}:Mean')
register_aggregator('max', f'{_JIST}:Max')
register_aggregator('simplefc', f'{_JIST}:SimpleFc', learned=True, trained=True)
register_aggregator('meanfc', f'{_JIST}:MeanFc', learned=True)
register_aggregator('conv1d', f'{_JIST}:TimeConvolution', learned=True, trained=True)
register_aggregator('seqgem', f'{_JIST}:SeqGeM', learned=True)
register_aggregator('fc', f'{_JIST}:FullyConnected', learned=True, trained=True)
register_aggregator('seqvlad', 'seqnet_ros.sequences.seqvlad:SeqVlad', sums_frames=True)
