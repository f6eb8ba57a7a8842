"""Maps, matches and loops as markers for RViz."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from seqnet_ros.localization.result import Candidate, MatchResult
from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns

MOST_POINTS = 20_000
"""Longer routes are thinned, because RViz cannot draw more."""

MOST_PROBABLE = 2_000
"""Of a belief, at most this many places are shown, the most probable ones."""
_LEAST_SHARE = 0.01
"""Places that are less probable than this share of the most probable one are not shown."""

Colour = tuple[float, float, float, float]
# Blue and orange differ even for color-blind users; shape and text show the rest.
ACCEPTED: Colour = (0.0, 0.45, 0.7, 1.0)
REJECTED: Colour = (0.9, 0.6, 0.0, 1.0)
ROUTE: Colour = (0.55, 0.55, 0.55, 0.8)
_SIZE_M = 0.5


def route_markers(routes: Sequence[np.ndarray], frame_id: str, stamp_ns: int) -> MarkerArray:
    """Return the places of maps as dots.

    Args:
        routes: positions ``[N, 3]`` of each map, meters.
        frame_id: their frame.
        stamp_ns: stamp of the markers.
    """
    header = Header(frame_id=frame_id, stamp=stamp_from_ns(stamp_ns))
    markers = [Marker(header=header, ns='places', action=Marker.DELETEALL)]
    for number, positions in enumerate(routes):
        step = -(-len(positions) // MOST_POINTS) or 1
        markers.append(_marker(header, 'places', number, Marker.POINTS, ROUTE, _SIZE_M / 2,
                               points=_points(positions[::step])))
    return MarkerArray(markers=markers)


def match_markers(result: MatchResult, frame_id: str) -> MarkerArray:
    """Return the candidates of a match, colored by score, and its best place as an arrow."""
    header = Header(frame_id=frame_id, stamp=stamp_from_ns(result.stamp_ns))
    best = result.best
    if best is None:
        return MarkerArray(markers=[
            Marker(header=header, ns=name, action=Marker.DELETEALL)
            for name in ('candidates', 'match', 'verdict')])
    colour = ACCEPTED if result.accepted else REJECTED
    arrow = _marker(header, 'match', 0, Marker.ARROW, colour, 4 * _SIZE_M)
    arrow.scale = Vector3(x=4 * _SIZE_M, y=_SIZE_M, z=_SIZE_M)
    arrow.pose = pose_to_message(best.pose)
    text = _marker(header, 'verdict', 0, Marker.TEXT_VIEW_FACING, colour, 2 * _SIZE_M)
    text.pose = pose_to_message(best.pose)
    text.pose.position.z += 4 * _SIZE_M
    text.text = f'{result.reason.name} {best.score:.2f}'
    dots = _marker(header, 'candidates', 0, Marker.SPHERE_LIST, colour, _SIZE_M,
                   points=_points(np.stack([item.pose[:3] for item in result.candidates])))
    dots.colors = [_by_score(item) for item in result.candidates]
    return MarkerArray(markers=[dots, arrow, text])


def belief_markers(belief: np.ndarray | None, maps: Sequence[np.ndarray], frame_id: str,
                   stamp_ns: int) -> list[Marker]:
    """Return where the robot may be, one marker for each map.

    The opacity of a place is its probability as a share of that of the most probable place.

    Args:
        belief: probability of each place, of all maps one after the other, ``[N]``; None gives
            no markers.
        maps: positions of the places of each map, ``[K, 3]`` each, N together, meters.
        frame_id: their frame.
        stamp_ns: stamp of the markers.
    """
    header = Header(frame_id=frame_id, stamp=stamp_from_ns(stamp_ns))
    if belief is None:
        return []
    shares = belief / max(float(belief.max(initial=0.0)), np.finfo(float).tiny)
    least = _LEAST_SHARE
    if len(shares) > MOST_PROBABLE:
        least = max(least, float(np.partition(shares, -MOST_PROBABLE)[-MOST_PROBABLE]))
    shown = np.flatnonzero(shares >= least)
    shown = shown[np.argsort(-shares[shown], kind='stable')][:MOST_PROBABLE]
    markers, first = [], 0
    for number, positions in enumerate(maps):
        own = shown[(shown >= first) & (shown < first + len(positions))]
        if len(own):
            marker = _marker(header, 'belief', number, Marker.POINTS, ACCEPTED, _SIZE_M,
                             points=_points(positions[own - first]))
            marker.colors = [_colour((*ACCEPTED[:3], share)) for share in shares[own]]
        else:
            marker = Marker(header=header, ns='belief', id=number, action=Marker.DELETE)
        markers.append(marker)
        first += len(positions)
    return markers


def no_belief(frame_id: str, stamp_ns: int) -> Marker:
    """Return the marker that removes all markers of a belief."""
    return Marker(header=Header(frame_id=frame_id, stamp=stamp_from_ns(stamp_ns)), ns='belief',
                  action=Marker.DELETEALL)


def loop_markers(positions: np.ndarray, edges: Sequence[tuple[int, int, bool]], frame_id: str,
                 stamp_ns: int) -> MarkerArray:
    """Return the trajectory and its loops.

    Args:
        positions: of all places, ``[N, 3]``, meters.
        edges: older place, newer place, and whether the loop was accepted.
        frame_id: frame of the positions.
        stamp_ns: stamp of the markers.
    """
    header = Header(frame_id=frame_id, stamp=stamp_from_ns(stamp_ns))
    step = -(-len(positions) // MOST_POINTS) or 1
    markers = [_marker(header, 'drive', 0, Marker.LINE_STRIP, ROUTE, _SIZE_M / 5,
                       points=_points(positions[::step]))]
    for name, colour, wanted in (('loops', ACCEPTED, True), ('rejected loops', REJECTED, False)):
        ends = [end for older, newer, accepted in edges if accepted is wanted
                for end in (older, newer)]
        markers.append(_marker(header, name, 0, Marker.LINE_LIST, colour, _SIZE_M / 5,
                               points=_points(positions[ends]))
                       if ends else Marker(header=header, ns=name, action=Marker.DELETEALL))
    return MarkerArray(markers=markers)


def _marker(header: Header, name: str, number: int, kind: int, colour: Colour, size: float,
            points: Sequence[Point] = ()) -> Marker:
    marker = Marker(header=header, ns=name, id=number, type=kind, action=Marker.ADD,
                    scale=Vector3(x=size, y=size, z=size), color=_colour(colour),
                    points=list(points))
    marker.pose.orientation.w = 1.0
    return marker


def _by_score(candidate: Candidate) -> ColorRGBA:
    low, high = np.array(REJECTED), np.array(ACCEPTED)
    return _colour(tuple(low + float(candidate.score) * (high - low)))


def _colour(rgba: Sequence[float]) -> ColorRGBA:
    red, green, blue, alpha = (float(value) for value in rgba)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def _points(positions: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in positions.tolist()]
