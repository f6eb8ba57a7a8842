"""Synthetic descriptors of a drive: smooth, of low intrinsic dimension, with revisits.

White noise would be the wrong test: it has no neighborhoods, so every index looks bad on it and
every ranking looks good. Here a latent state wanders smoothly (what the camera could see), random
Fourier features (Rahimi and Recht, NeurIPS 2007) bend it into descriptor space, and white noise is
what two images of one place do not share. The constants are set so that distances between
successive places, between two drives and between random places come near those that HOG shows on
Gardens Point and Nordland, see docs/performance.md.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.aggregators import aggregate

LATENT_DIM = 24
_LENGTH_SCALE = 2.0
_DECAY = 0.5             # the n-th latent dimension bends the view with n ** -_DECAY
_MEMORY = 6.0            # places after which the view has changed
_REVISITED = 0.25       # share of the drive on roads driven before
_STRETCH = 400          # places of one revisit
_REVISIT_SHIFT = 0.6    # deviation of the latent state between two drives on one road
_NOISE = 0.5            # length of the white noise, descriptors have length 1
_BLOCK = 65536


@dataclass(frozen=True)
class Route:
    """Route of a synthetic drive: the latent state ``[N, LATENT_DIM]`` of every place."""

    states: np.ndarray
    dim: int
    seed: int

    def describe(self, states: np.ndarray, seed: int) -> np.ndarray:
        """Return unit-length float32 descriptors ``[N, dim]`` of latent states."""
        layout = np.random.default_rng([self.seed, self.dim])
        reach = np.arange(1, LATENT_DIM + 1)[:, None] ** -_DECAY / _LENGTH_SCALE
        weights = (reach * layout.standard_normal((LATENT_DIM, self.dim))).astype(np.float32)
        phases = layout.uniform(0, 2 * np.pi, self.dim).astype(np.float32)
        # The mean of a feature over all states, which centering would take away.
        mean = np.exp(-(weights ** 2).sum(axis=0) / 2) * np.cos(phases)
        scale = np.float32(np.sqrt(2 / self.dim))
        noise = np.random.default_rng([self.seed, seed])
        features = (np.cos(states @ weights + phases) - mean) * scale
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        features += noise.standard_normal(features.shape, dtype=np.float32) * np.float32(
            _NOISE / np.sqrt(self.dim))
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def write_frames(self, out: np.ndarray) -> None:
        """Fill ``out`` ``[N, dim]`` (may be memory-mapped) with the mapping drive."""
        for start in range(0, len(out), _BLOCK):
            block = self.states[start: start + _BLOCK]
            out[start: start + len(block)] = self.describe(block, start + 1)

    def second_drive(self, stretches: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Drive stretches of the route again.

        Returns:
            descriptors float32 ``[stretches, length, dim]`` and the true places ``[stretches]`` of
            the newest frames.
        """
        random = np.random.default_rng([self.seed, 999])
        ends = random.integers(length - 1, len(self.states), stretches)
        places = ends[:, None] + np.arange(1 - length, 1)
        shift = random.standard_normal((stretches, 1, LATENT_DIM)).astype(np.float32)
        states = self.states[places] + _REVISIT_SHIFT * shift
        frames = self.describe(states.reshape(-1, LATENT_DIM), 2 ** 40)
        return frames.reshape(stretches, length, self.dim), ends

    def queries(self, count: int, model: PlaceModel) -> tuple[np.ndarray, np.ndarray]:
        """Return sequences of a second drive.

        Returns:
            their frames float32 ``[count, length, dim]``, and their descriptors by the model
            ``[count, D']``.
        """
        length = model.engine.sequence.length
        windows, _ = self.second_drive(count, length)
        return windows, aggregate(model.aggregator, windows.reshape(-1, self.dim),
                                  np.arange(count * length).reshape(-1, length))


def make_route(places: int, dim: int = 512, seed: int = 0) -> Route:
    """Return a smooth route, a quarter of it on roads driven before."""
    random = np.random.default_rng(seed)
    states = _wander(random, places)
    revisits = max(1, round(places * _REVISITED / _STRETCH))
    for start in np.linspace(places * 0.3, places - _STRETCH, revisits).astype(int):
        if start <= _STRETCH:
            continue
        earlier = random.integers(0, start - _STRETCH)
        shift = _REVISIT_SHIFT * random.standard_normal(LATENT_DIM).astype(np.float32)
        states[start: start + _STRETCH] = states[earlier: earlier + _STRETCH] + shift
    return Route(states, dim, seed)


def _wander(random: np.random.Generator, places: int) -> np.ndarray:
    """Return twice-filtered noise of unit deviation: smooth, and forgets where it was."""
    decay = np.exp(-1 / _MEMORY)
    steps = random.standard_normal((places + int(10 * _MEMORY), LATENT_DIM), dtype=np.float32)
    for _ in range(2):
        steps = lfilter([1 - decay], [1, -decay], steps, axis=0)
    states = steps[int(10 * _MEMORY):]
    return np.ascontiguousarray(states / states.std(axis=0), dtype=np.float32)
