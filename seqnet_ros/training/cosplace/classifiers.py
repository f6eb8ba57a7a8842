"""One classifier for each group of classes, of which one at a time is in use."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.core.errors import InputError
from seqnet_ros.training.cosplace.cosface import CosFace

_SEED = 4


class Classifiers:
    """Classifiers by group; those not in use are kept in CPU memory.

    Args:
        dim: length of the descriptors.
        seed: of the weights they start with; those of a group are the same however many there are.
    """

    def __init__(self, dim: int, seed: int) -> None:
        self._dim, self._seed = dim, seed
        self._all: list[CosFace] = []

    def __len__(self) -> int:
        """Return the number of groups that have a classifier."""
        return len(self._all)

    def __getitem__(self, group: int) -> CosFace:
        """Return the classifier of a group."""
        return self._all[group]

    def add(self, classes: int) -> None:
        """Draw the classifier of the next group."""
        with torch.random.fork_rng(devices=[]):
            seeds = np.random.SeedSequence([self._seed, _SEED, len(self)])
            torch.manual_seed(int(seeds.generate_state(1)[0]))
            self._all.append(CosFace(self._dim, classes))

    def bring(self, current: int, device: torch.device, optimizer: torch.optim.Optimizer) -> None:
        """Keep one classifier and its state of Adam on the device, but no other."""
        for group, classifier in enumerate(self._all):
            target = device if group == current else torch.device('cpu')
            classifier.weight.data = classifier.weight.data.to(target)
            state = optimizer.state.get(classifier.weight, {})
            for name in ('exp_avg', 'exp_avg_sq'):
                if name in state:
                    state[name] = state[name].to(target)

    def state(self) -> list[dict[str, Tensor]]:
        """Return the weights of each, as the published code keeps them."""
        return [{'weight': classifier.weight.detach()} for classifier in self._all]

    def load(self, stored: Sequence[dict[str, Any]], origin: str) -> None:
        """Take over weights; there have to be at least as many classifiers as are stored.

        Raises:
            InputError: one is of another number of classes.
        """
        for classifier, state in zip(self._all, stored, strict=False):
            if classifier.weight.shape != state['weight'].shape:
                raise InputError(f'a classifier of {origin} has shape '
                                 f'{list(state["weight"].shape)}, but these images need '
                                 f'{list(classifier.weight.shape)}')
            classifier.weight.data = state['weight']
