"""How much successive views change on the route, and how much where the robot was carried."""

from dataclasses import dataclass

import numpy as np

_SAMPLES = 2000
_SEED = 0
_LEAST_SPREAD = 0.05
_FEWEST = 10
_MOST_LOG_RATIO = 3.5


@dataclass(frozen=True)
class SceneChange:
    """Similarity of two keyframes, as cosine, modeled by two normal distributions.

    Attributes:
        on_route: mean and standard deviation for successive places.
        elsewhere: mean and standard deviation for places far apart.
    """

    on_route: tuple[float, float] = (0.0, 1.0)
    elsewhere: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of_drive(cls, frames: np.ndarray, starts: np.ndarray) -> 'SceneChange':
        """Measure the similarity of keyframes on a drive.

        Args:
            frames: float32 ``[N, D]``, L2-normalized frames of a drive (may be memory-mapped).
            starts: first place of the unbroken stretch each place is on, ``[N]``.

        Returns:
            The model; an uninformative one for drives that are too short.
        """
        count = len(frames)
        rng = np.random.default_rng(_SEED)
        after = np.flatnonzero(starts[1:] == starts[:-1]) + 1
        after = after[:: max(1, len(after) // _SAMPLES)]
        first = rng.integers(0, max(count, 1), _SAMPLES)
        second = rng.integers(0, max(count, 1), _SAMPLES)
        apart = np.abs(first - second) > max(count // 10, 1)
        if len(after) < _FEWEST or apart.sum() < _FEWEST:
            return cls()
        return cls(_spread(frames[after], frames[after - 1]),
                   _spread(frames[first[apart]], frames[second[apart]]))

    @property
    def contrast(self) -> float:
        """How much more similar successive places are than distant ones, in deviations of these."""
        return (self.on_route[0] - self.elsewhere[0]) / self.elsewhere[1]

    def log_ratio(self, similarity: float) -> float:
        """Return the log-likelihood ratio of a jump against driving on.

        Args:
            similarity: cosine of the newest keyframe and the one before.
        """
        (near, near_spread), (far, far_spread) = self.on_route, self.elsewhere
        similarity = max(similarity, far)
        jump = -0.5 * ((similarity - far) / far_spread) ** 2 - np.log(far_spread)
        on = -0.5 * ((similarity - near) / near_spread) ** 2 - np.log(near_spread)
        return float(np.clip(jump - on, -_MOST_LOG_RATIO, _MOST_LOG_RATIO))


def _spread(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    similarities = np.einsum('ij,ij->i', a, b)
    return float(similarities.mean()), max(float(similarities.std()), _LEAST_SPREAD)
