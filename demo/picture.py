"""The picture: the camera image beside the matched place, and both on the route."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from demo.report import Judged
from seqnet_ros.datasets.recordings.open_recording import open_source

PAIRS = 6
_SCALE_M = 20
_GREEN, _RED, _AMBER, _GREY = '#2a9d3a', '#d62728', '#e69f00', '#9a9a9a'
_LABELS = {
    _GREEN: 'accepted, right', _RED: 'accepted, wrong', _AMBER: 'searched, not accepted',
    _GREY: 'not searched (standing, or sequence fills)'}


def draw_picture(judged: Sequence[Judged], map_bag: Path, query_bag: Path,
                 map_poses: np.ndarray, title: str, path: Path) -> None:
    """Draw pairs of images evenly along the route, and the route.

    Args:
        judged: the answers and their true poses.
        map_bag: where the images of the places are.
        query_bag: where the images that were played are.
        map_poses: the mapping drive ``[N, 7]``, meters.
        title: one line on top.
        path: the PNG file to write.
    """
    chosen = _along_the_route([one for one in judged if len(one.errors)])
    queries = _read_images(query_bag, [one.answer.stamp_ns for one in chosen])
    places = _read_images(map_bag, [_place_stamp(one) for one in chosen])
    figure = Figure(figsize=(13.2, 6.7), layout='constrained', facecolor='white')
    figure.suptitle(title, fontsize=13, x=0.01, ha='left')
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1, 2.9)))
    _draw_route(left.subplots(), judged, chosen, map_poses)
    axes = right.subplots(3, 4).reshape(PAIRS, 2)
    for number, one in enumerate(chosen):
        colour = _colour(one)
        query, place = axes[number]
        _show(query, queries[number], colour, f'{number + 1}  the robot at dusk')
        _show(place, places[number], colour, _verdict(one))
    for query, place in axes[len(chosen):]:
        query.axis('off')
        place.axis('off')
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG with a palette: a third of the size, and no worse to look at."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert('RGB')
    picture.quantize(256).save(path, optimize=True)


def _along_the_route(searched: Sequence[Judged]) -> list[Judged]:
    """Choose answers at even distances traveled."""
    if len(searched) <= PAIRS:
        return list(searched)
    places = np.array([one.truth[:2] for one in searched])
    travelled = np.cumsum(np.r_[0, np.linalg.norm(np.diff(places, axis=0), axis=1)])
    wanted = (np.arange(PAIRS) + 0.5) / PAIRS * travelled[-1]
    return [searched[int(np.argmin(abs(travelled - distance)))] for distance in wanted]


def _place_stamp(one: Judged) -> int:
    stamp = one.answer.message.candidates[0].stamp
    return stamp.sec * 10**9 + stamp.nanosec


def _read_images(bag: Path, stamps_ns: Iterable[int]) -> list[np.ndarray]:
    wanted = list(stamps_ns)
    found = {frame.stamp_ns: frame.read() for frame in open_source(bag)
             if frame.stamp_ns in wanted}
    return [found[stamp] for stamp in wanted]


def _colour(one: Judged) -> str:
    if one.answer.message.accepted:
        return _GREEN if one.right else _RED
    return _AMBER if len(one.errors) else _GREY


def _verdict(one: Judged) -> str:
    verdict = 'accepted' if one.answer.message.accepted else 'not accepted'
    return f'the map: {verdict}, {one.errors[0]:.1f} m off'


def _show(axes: Axes, image: np.ndarray, colour: str, caption: str) -> None:
    axes.imshow(image)
    axes.set_title(caption, fontsize=9, color=colour, loc='left', pad=3)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=3)


def _draw_route(axes: Axes, judged: Sequence[Judged], chosen: Sequence[Judged],
                map_poses: np.ndarray) -> None:
    axes.plot(*_upright(map_poses), color='#dddddd', linewidth=10, zorder=0,
              solid_capstyle='round', label='mapped by day')
    for colour in (_GREY, _AMBER, _GREEN, _RED):
        places = np.array([one.truth for one in judged if _colour(one) == colour])
        if len(places):
            axes.scatter(*_upright(places), s=11, color=colour,
                         label=f'{_LABELS[colour]}: {len(places)}')
    for number, one in enumerate(chosen, 1):
        axes.annotate(str(number), _upright(one.truth), ha='center', va='center', fontsize=10,
                      fontweight='bold', color='white',
                      bbox={'boxstyle': 'circle', 'color': _colour(one)})
    axes.set_aspect('equal')
    axes.axis('off')
    _draw_scale(axes)
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.03), fontsize=9, frameon=False)


def _upright(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions turned by a quarter: x up, y left. The town is wider than high."""
    return -poses[..., 1], poses[..., 0]


def _draw_scale(axes: Axes) -> None:
    (left, _), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    axes.plot([left, left + _SCALE_M], [bottom, bottom], color='black', linewidth=2)
    axes.annotate(f'{_SCALE_M} m', (left + _SCALE_M / 2, bottom), xytext=(0, 4),
                  textcoords='offset points', ha='center', fontsize=9)
