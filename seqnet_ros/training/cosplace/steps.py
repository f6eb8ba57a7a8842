"""Batches of a training, and the devices it runs on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from seqnet_ros.training.cosplace.data import ImageBatch


@dataclass(frozen=True, eq=False)
class RunOptions:
    """Execution options of a training; they do not affect its result.

    Attributes:
        device: 'auto', 'cuda' or 'cpu'.
        precision: '32', '16' or 'bf16'; those of 16 bits are mixed with 32.
        workers: threads that read images; 0 reads them when they are needed.
        record: options of the training, as JSON values.
    """

    device: str = 'auto'
    precision: str = '32'
    workers: int = 0
    record: Mapping[str, Any] = field(default_factory=dict)


class Step(NamedTuple):
    """Share of one process in one step.

    Attributes:
        images: of classes; None where only sequences are trained.
        sequences: sequences of the step, in training on sequences.
    """

    images: ImageBatch | None
    sequences: Any = None


class Steps(NamedTuple):
    """The steps of a round.

    Attributes:
        number: number of steps.
        read: reads one, whatever was read before.
    """

    number: int
    read: Callable[[int], Step]


class PartLoss(NamedTuple):
    """A part of the loss of a step.

    Attributes:
        name: human-readable.
        value: of this process; the sum over the processes is that of the step.
        complaints: errors of images that could not be read.
    """

    name: str
    value: Tensor
    complaints: tuple[str, ...]


class Best(NamedTuple):
    """The best weights of a training.

    Attributes:
        epoch: after which they were found; 0 where there are none yet.
        recalls: Recall@n of the validation, by n.
    """

    epoch: int
    recalls: Mapping[int, float]
