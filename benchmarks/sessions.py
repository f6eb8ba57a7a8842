"""How well drives with odometry of their own are aligned with a map.

``python -m benchmarks.sessions`` maps rendered towns by day, with exact poses, and aligns later
drives with them. Their odometry begins 40 m away, is turned by 15 degrees and drifts by 2 %. The
error is the distance of an aligned keyframe from its true position in the frame of the map. One
more drive goes through another town and must be refused. Where a row says *landmarks*, the camera
is calibrated and local features are kept, so that poses are measured by landmarks.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from demo.recording import drifting_odometry
from seqnet_ros.config.engine import GeometryConfig
from seqnet_ros.core.camera import FORWARD, CameraModel
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix, yaw_of
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.sessions.alignment import align
from seqnet_town import CONDITIONS, Camera, Drive, Town

_TOWNS = 4, 5, 6, 7  # towns 2 and 3 were used to choose settings
_BLOCKS = (2, 1)
_DRIFT = 0.02
_AWAY = make_pose(40.0, 0.0, 0.0, np.deg2rad(15.0))
_LANES = 0.0, 0.8


class Mapping(NamedTuple):
    """With what drives are mapped."""

    model: PlaceModel
    camera: CameraModel | None = None


def later_drive(town: int, condition: str, lane: float) -> Drive:
    """Return a drive that is to be aligned, in a lane so many meters to the left."""
    return Drive(Town(town, _BLOCKS), CONDITIONS[condition], lateral_offset=lane, speed=6.8,
                 seed=list(CONDITIONS).index(condition))


def odometry_of(drive: Drive, seed: int) -> np.ndarray:
    """Return its odometry, ``[N, 7]``, in a frame of its own."""
    frame = pose_matrix(_AWAY)
    return np.array([pose_from_matrix(frame @ pose_matrix(pose))
                     for pose in drifting_odometry(drive.poses, seed, _DRIFT)])


def with_landmarks(model: PlaceModel, camera: Camera) -> Mapping:
    """Return how drives are mapped so that poses can be measured by landmarks."""
    return Mapping(
        replace(model, engine=model.engine.model_copy(update={'geometry': GeometryConfig()})),
        CameraModel(camera.matrix, camera.width, camera.height,
                    base_from_camera=np.array([0.0, 0.0, camera.mount_height, *FORWARD[3:]])))


def keyframes_of(mappings: dict[str, Mapping], drive: Drive,
                 poses: np.ndarray) -> dict[str, Mapper]:
    """Return the keyframes of a drive as each describes them; all take the same images."""
    mappers = {name: Mapper(mapping.model, camera=mapping.camera)
               for name, mapping in mappings.items()}
    for frame, pose in zip(drive, poses, strict=True):
        read = cache(frame.read)
        for mapper in mappers.values():
            mapper.push_lazily(read, frame.stamp_ns, pose)
    return mappers


def errors(session: Mapper, drive: Drive, poses: np.ndarray) -> np.ndarray:
    """Return how far aligned keyframes are from the truth: along and across, ``[N, 2]``."""
    number_of = {int(stamp_ns): number for number, stamp_ns in enumerate(drive.stamps)}
    truth = np.array([drive.poses[number_of[session[number].stamp_ns]]
                      for number in range(len(session))])
    yaw = np.array([yaw_of(pose) for pose in truth])
    apart = poses[:, :2] - truth[:, :2]
    return np.stack([np.cos(yaw) * apart[:, 0] + np.sin(yaw) * apart[:, 1],
                     np.cos(yaw) * apart[:, 1] - np.sin(yaw) * apart[:, 0]], axis=1)


def row_of(place_map: PlaceMap, session: Mapper, drive: Drive) -> list[str]:
    """Align and return the cells of the table."""
    started = time.perf_counter()
    try:
        aligned = align(place_map, session)
    except SessionAlignmentError as error:
        return [f'refused: {error}', '', '', '', '', '', '']
    seconds = time.perf_counter() - started
    along, across = np.sqrt((errors(session, drive, aligned.poses) ** 2).mean(axis=0))
    return [f'{int(aligned.kept.sum())} of {len(aligned.kept)}',
            str(int(aligned.matches.measured.sum())),
            f'{aligned.overlap_m:.0f} of {aligned.route_m:.0f}', f'{np.hypot(along, across):.2f}',
            f'{along:.2f}, {across:.2f}', f'{aligned.left_m:.2f}', f'{seconds:.1f}']


def run(names: Sequence[str], landmarks: Sequence[str], towns: Sequence[int],
        lights: Sequence[str], lanes: Sequence[float]) -> Table:
    """Align all drives."""
    table = Table('town', 'drive', 'model', 'matches kept', 'by landmarks', 'found, m', 'RMS, m',
                  'along, across', 'to the left, m', 'seconds')
    mappings = {name: Mapping(load_model(name, 'cpu')) for name in names}
    mappings |= {f'{name}, landmarks': with_landmarks(load_model(name, 'cpu'), Camera())
                 for name in landmarks}
    for town in towns:
        day = Drive(Town(town, _BLOCKS), CONDITIONS['day'])
        maps = {name: mapper.finish()
                for name, mapper in keyframes_of(mappings, day, day.poses).items()}
        drives = [(f'{condition}, {lane:g} m to the left', later_drive(town, condition, lane))
                  for condition in lights for lane in lanes]
        drives.append(('dusk, another town', later_drive(town + 10, 'dusk', 0.0)))
        for title, drive in drives:
            sessions = keyframes_of(mappings, drive, odometry_of(drive, town))
            for name, session in sessions.items():
                table.add_row(str(town), title, name, *row_of(maps[name], session, drive))
    return table


def main() -> None:
    """Align and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.sessions', description=__doc__)
    parser.add_argument('--models', nargs='+', default=['hog', 'lite0-cells'])
    parser.add_argument('--towns', nargs='+', type=int, default=_TOWNS)
    parser.add_argument('--landmarks', nargs='*', default=['lite0-cells'], metavar='MODEL')
    parser.add_argument('--lights', nargs='+', default=['dusk', 'night'])
    parser.add_argument('--lanes', nargs='+', type=float, default=_LANES,
                        help='meters to the left of the lane of the map')
    arguments = parser.parse_args()
    Console(width=150).print(run(arguments.models, arguments.landmarks, arguments.towns,
                                 arguments.lights, arguments.lanes))


if __name__ == '__main__':
    main()
