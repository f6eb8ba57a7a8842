"""The plan of the town: streets, blocks, buildings and street furniture, in meters."""

from dataclasses import dataclass, field

import numpy as np

from seqnet_town.route import Route
from seqnet_town.textures import STYLES, Facade, Style

KERB = 5.3
"""Distance from the middle of a street to its curb, meters."""
BUILDING_LINE = 8.4
PARKING_LINE = 4.2
DEPTH = 10.0
"""Depth of a building, meters."""


@dataclass(frozen=True)
class Prop:
    """Something that stands on the sidewalk and looks the same from all sides."""

    kind: str
    variant: int
    position: tuple[float, float]
    scale: float


@dataclass(frozen=True)
class Building:
    """A footprint (counter-clockwise, ``[4, 2]``) with one facade index per side."""

    corners: np.ndarray
    facades: tuple[int, int, int, int]


@dataclass
class Plan:
    """Layout of a town."""

    nodes: np.ndarray
    """Street crossings ``[columns, rows, 2]``."""
    blocks: list[np.ndarray] = field(default_factory=list)
    """Corners of the blocks on the street middles, ``[4, 2]`` counter-clockwise."""
    buildings: list[Building] = field(default_factory=list)
    facades: list[Facade] = field(default_factory=list)
    props: list[Prop] = field(default_factory=list)
    parking: list[tuple[float, float, float]] = field(default_factory=list)
    """Parking spaces: x, y and heading."""


def draw_plan(rng: np.random.Generator, blocks: tuple[int, int]) -> Plan:
    """Lay out ``blocks`` (columns, rows) of a town, and a ring of blocks around them."""
    plan = Plan(_crossings(rng, blocks))
    plan.facades.extend(Facade(STYLES[int(rng.integers(len(STYLES)))], DEPTH, int(floors),
                               int(rng.integers(2 ** 31)), blind=True)
                        for floors in np.repeat([2, 3, 4, 5], 3))
    columns, rows = plan.nodes.shape[0] - 1, plan.nodes.shape[1] - 1
    for i in range(columns):
        for j in range(rows):
            block = plan.nodes[[i, i + 1, i + 1, i], [j, j, j + 1, j + 1]]
            plan.blocks.append(block)
            outside = (j == 0, i == columns - 1, j == rows - 1, i == 0)
            for side in range(4):
                if not outside[side]:
                    _line_street(rng, plan, block, side)
    return plan


def figure_eight(nodes: np.ndarray) -> Route:
    """Return a route around the left and the right half of the town.

    Both halves share the street in the middle: it is driven twice per lap, in one direction.
    """
    left, right, bottom, top = 1, nodes.shape[0] - 2, 1, nodes.shape[1] - 2
    middle = (left + right) // 2
    up = [(middle, j) for j in range(bottom, top)]

    def loop(side: int) -> list[tuple[int, int]]:
        step = 1 if side > middle else -1
        return (up + [(i, top) for i in range(middle, side, step)]
                + [(side, j) for j in range(top, bottom, -1)]
                + [(i, bottom) for i in range(side, middle, -step)])

    return Route([nodes[index] for index in loop(right) + loop(left)])


def inset(block: np.ndarray, distance: float) -> np.ndarray:
    """Move the sides of a convex counter-clockwise polygon ``[N, 2]`` inwards."""
    edges = np.roll(block, -1, axis=0) - block
    edges = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    inwards = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
    middle = inwards + np.roll(inwards, 1, axis=0)
    return block + distance * 2 * middle / np.sum(middle ** 2, axis=1, keepdims=True)


def _crossings(rng: np.random.Generator, blocks: tuple[int, int]) -> np.ndarray:
    """Return an irregular grid with one more column and row of blocks on every side."""
    xs = np.cumsum(np.r_[0, rng.uniform(38, 62, blocks[0] + 2)])
    ys = np.cumsum(np.r_[0, rng.uniform(38, 62, blocks[1] + 2)])
    nodes = np.stack(np.meshgrid(xs, ys, indexing='ij'), axis=-1)
    return nodes + rng.uniform(-4, 4, nodes.shape)


def _line_street(rng: np.random.Generator, plan: Plan, block: np.ndarray, side: int) -> None:
    """Fill one side of a block with buildings, gardens, furniture and parking spaces."""
    line = inset(block, BUILDING_LINE)
    start, end = line[side], line[(side + 1) % 4]
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    inwards = np.array([-along[1], along[0]])
    styles = [STYLES[int(i)] for i in rng.integers(len(STYLES), size=2)]
    position, corner, twin = 0.0, True, None
    while (room := length - DEPTH - position) > 4.0:
        if not corner and rng.random() < 0.14:
            width = min(room, rng.uniform(4.0, 8.0))
            _add_gap(rng, plan, start + position * along, along, inwards, width)
            twin = None
        else:
            # Rows of equal houses are what makes a town repeat itself.
            if twin is None or rng.random() > 0.3:
                style = styles[int(rng.integers(2))]
                width = style.bay * int(rng.integers(2, 6))
                if room - width < 5.0:
                    width = room
                twin = _new_facade(rng, plan, style, width)
            width = plan.facades[twin].width
            if width > room + 0.5:
                twin = None
                continue
            setback = float(rng.choice([0.0, 0.0, 0.25, 0.5, 1.2]))
            _add_building(rng, plan, start + position * along + setback * inwards,
                          along, inwards, twin, corner)
        position += width
        corner = False
    _furnish(rng, plan, block, side)


def _new_facade(rng: np.random.Generator, plan: Plan, style: Style, width: float) -> int:
    floors = int(rng.choice([2, 3, 3, 4, 4, 5]))
    plan.facades.append(Facade(style, width, floors, int(rng.integers(2 ** 31))))
    return len(plan.facades) - 1


def _add_building(rng: np.random.Generator, plan: Plan, start: np.ndarray, along: np.ndarray,
                  inwards: np.ndarray, facade: int, corner: bool) -> None:
    front = plan.facades[facade]
    end = start + front.width * along
    corners = np.stack([start, end, end + DEPTH * inwards, start + DEPTH * inwards])
    blind = 3 * (front.floors - 2)
    right, back, left = (blind + int(i) for i in rng.integers(3, size=3))
    if corner:
        plan.facades.append(Facade(front.style, DEPTH, front.floors, int(rng.integers(2 ** 31))))
        left = len(plan.facades) - 1
    plan.buildings.append(Building(corners, (facade, right, back, left)))


def _add_gap(rng: np.random.Generator, plan: Plan, start: np.ndarray, along: np.ndarray,
             inwards: np.ndarray, width: float) -> None:
    """Close a gap between houses with a hedge or a garden wall, and a tree behind it."""
    hedge = Facade(STYLES[int(rng.integers(len(STYLES)))], width, 0, int(rng.integers(2 ** 31)))
    plan.facades.append(hedge)
    index = len(plan.facades) - 1
    start = start + 0.3 * inwards
    end = start + width * along
    corners = np.stack([start, end, end + 0.4 * inwards, start + 0.4 * inwards])
    plan.buildings.append(Building(corners, (index, index, index, index)))
    spot = start + rng.uniform(0.3, 0.7) * width * along + rng.uniform(2.0, 5.0) * inwards
    plan.props.append(Prop('tree', int(rng.integers(8)), (float(spot[0]), float(spot[1])),
                           float(rng.uniform(0.8, 1.4))))


def _furnish(rng: np.random.Generator, plan: Plan, block: np.ndarray, side: int) -> None:
    kerb = inset(block, KERB + 0.6)
    start, end = kerb[side], kerb[(side + 1) % 4]
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length

    def put(kind: str, variants: int, at: float, scale: float = 1.0) -> None:
        spot = start + at * along
        plan.props.append(Prop(kind, int(rng.integers(variants)),
                               (float(spot[0]), float(spot[1])), scale))

    for at in np.arange(rng.uniform(3, 9), length - 2, rng.uniform(19, 27)):
        put('lamp', 1, at)
    if rng.random() < 0.6:
        for at in np.arange(rng.uniform(5, 9), length - 4, rng.uniform(8, 13)):
            if rng.random() < 0.75:
                put('tree', 8, at + rng.uniform(-1, 1), rng.uniform(0.6, 1.0))
    for at in rng.uniform(1.5, length - 1.5, size=int(rng.integers(1, 4))):
        put('sign', 10, at)
    for at in rng.uniform(3, length - 3, size=int(rng.integers(0, 3))):
        put('furniture', 6, at)
    put('sign', 10, length - 1.0)
    parking = inset(block, PARKING_LINE)
    first, last = parking[side], parking[(side + 1) % 4]
    heading = float(np.arctan2(-along[1], -along[0]))  # the block is on the right of its lane
    for at in np.arange(7.5, np.linalg.norm(last - first) - 7.5, 5.8):
        spot = first + at * along
        plan.parking.append((float(spot[0]), float(spot[1]), heading))
