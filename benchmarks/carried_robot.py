"""What the place filter reports after the robot is carried elsewhere without notice.

``python -m benchmarks.carried_robot MAP QUERIES`` takes two folders of images in which frames of
the same number show the same place, such as ``nordland_64x32/summer`` and
``nordland_64x32/winter``. It maps the first and plays stretches of the second in random order, as
one drive without odometry whose stamps go on evenly. Nothing but the images tells of the jumps.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.recall_sets import described_by
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import RecordingOptions, Recordings, ReplayFrame
from seqnet_ros.evaluation.replay.reference_map import map_recordings
from seqnet_ros.evaluation.replay.replay import engine_for
from seqnet_ros.maps.place_map import PlaceMap

_SHORTEST, _LONGEST = 40, 80
_APART = 100
_FAR = 5
"""Places; a fix that is farther off is counted."""
_STEP_NS = 100_000_000


@dataclass(frozen=True)
class Fix:
    """An accepted match.

    Attributes:
        since: keyframes since the last jump.
        event: number of that jump, from 0; -1 before the first.
        far: whether it is more than five places off.
    """

    since: int
    event: int
    far: bool


def carried_frames(count: int, events: int, seed: int) -> list[np.ndarray]:
    """Return the numbers of the frames of each stretch, ``events + 1`` arrays of 40 to 79."""
    rng = np.random.default_rng(seed)
    stretches: list[np.ndarray] = []
    while len(stretches) <= events:
        start = int(rng.integers(0, count - _LONGEST))
        if not stretches or abs(start - stretches[-1][-1]) > _APART:
            stretches.append(start + np.arange(rng.integers(_SHORTEST, _LONGEST)))
    return stretches


def fixes(described: DescriptorCache, place_map: PlaceMap, maps: Recordings,
          queries: Recordings, stretches: Sequence[np.ndarray]) -> Iterator[Fix]:
    """Play the stretches of the queries in a map and yield what is accepted."""
    model = described.model
    localizer = engine_for(model, place_map, model.engine)()
    places = {int(stamp): number for number, stamp in enumerate(place_map.stamps_ns)}
    number_of = {found.number: places.get(found.frame.stamp_ns) for found in maps}
    files, frames = described.files(queries), list(queries)
    played = 0
    for event, stretch in enumerate(stretches):
        for since, number in enumerate(stretch.tolist()):
            read = described.reader(files, _restamped(frames[number], played))
            result = localizer.push_lazily(read, played * _STEP_NS)
            played += 1
            true = number_of[number]
            if result is not None and result.accepted and true is not None:
                off = abs(result.candidates[0].place_id - true)
                yield Fix(since, event - 1, off > _FAR)


def _restamped(found: ReplayFrame, played: int) -> ReplayFrame:
    return found._replace(frame=replace(found.frame, stamp_ns=played * _STEP_NS, pose=None))


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.carried_robot',
                                     description=__doc__)
    parser.add_argument('map', type=Path)
    parser.add_argument('queries', type=Path)
    parser.add_argument('--models', nargs='+', default=['hog', 'lite0-cells'])
    parser.add_argument('--events', type=int, default=40)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    arguments = parser.parse_args()
    maps, queries = (Recordings(RecordingOptions((path,)))
                     for path in (arguments.map, arguments.queries))
    table = Table('model', 'seed', 'keyframes', 'accepted', 'far fixes an event',
                  'of these by the frame after the jump (0, 1, 2 ...)',
                  'right again after (median)', title=f'Carried {arguments.events} times')
    for name in arguments.models:
        with described_by(name) as described:
            mapped = map_recordings(
                described, maps, lambda done: None, described.model.engine)
            for seed in arguments.seeds:
                stretches = carried_frames(len(queries), arguments.events, seed)
                found = [fix for fix in fixes(described, mapped.place_map, maps, queries,
                                              stretches) if fix.event >= 0]
                far = [fix.since for fix in found if fix.far]
                right = [min((fix.since for fix in found if fix.event == event and not fix.far),
                             default=np.inf) for event in range(arguments.events)]
                table.add_row(
                    name, str(seed), f'{sum(map(len, stretches[1:])):,}', f'{len(found):,}',
                    f'{len(far) / arguments.events:.2f}',
                    ' '.join(map(str, np.bincount(far, minlength=1)[:8])),
                    f'{np.median(right):g}')
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
