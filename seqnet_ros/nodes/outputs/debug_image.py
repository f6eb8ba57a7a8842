"""Query and match side by side, with the verdict, as one image."""

import cv2
import numpy as np

from seqnet_ros.localization.result import MatchResult

HEIGHT = 240
_BAND = 48
_MARGIN = 4
_ACCEPTED, _REJECTED = (46, 160, 67), (207, 82, 46)
_GREY, _WHITE, _BLACK = (96, 96, 96), (255, 255, 255), (24, 24, 24)


def compose(query: np.ndarray, match: np.ndarray | None, result: MatchResult) -> np.ndarray:
    """Return RGB uint8 ``[H, W, 3]``: the query, the best place, and what was decided.

    Args:
        query: RGB uint8 ``[H, W, 3]``, the newest image.
        match: picture of the best place; None without a picture.
        result: result for the query.
    """
    left = _fit(query)
    right = _nothing(left, result) if match is None else _fit(match)
    colour = _ACCEPTED if result.accepted else _REJECTED
    gap = np.full((HEIGHT, _MARGIN, 3), colour, dtype=np.uint8)
    pair = np.concatenate([left, gap, right], axis=1)
    band = np.full((_BAND, pair.shape[1], 3), _BLACK, dtype=np.uint8)
    sign = 'ACCEPTED' if result.accepted else f'rejected: {result.reason.name}'
    _write(band, sign, 19, colour)
    _write(band, _details(result), 39, _WHITE)
    return np.concatenate([pair, band])


def _details(result: MatchResult) -> str:
    best = result.best
    if best is None:
        return 'no candidate'
    text = f'place {best.place_id}  score {best.score:.2f}  distance {best.sequence_distance:.3f}'
    return text + (f'  inliers {best.inliers}' if best.inliers else '')


def _fit(image: np.ndarray) -> np.ndarray:
    width = max(round(image.shape[1] * HEIGHT / image.shape[0]), 1)
    return cv2.resize(np.ascontiguousarray(image), (width, HEIGHT), interpolation=cv2.INTER_AREA)


def _nothing(like: np.ndarray, result: MatchResult) -> np.ndarray:
    blank = np.full_like(like, _GREY)
    _write(blank, 'no candidate' if result.best is None else 'no picture kept', HEIGHT // 2, _WHITE)
    return blank


def _write(image: np.ndarray, text: str, baseline: int, colour: tuple[int, int, int]) -> None:
    scale = min(0.5, 0.5 * image.shape[1] / (10 * len(text) + 16))
    cv2.putText(image, text, (8, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1,
                cv2.LINE_AA)
