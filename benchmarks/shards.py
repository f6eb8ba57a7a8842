"""How long parts of a map take, and merging them, beside one process.

``python -m benchmarks.shards`` renders a drive, maps it at once, then in shards, one after the
other, and compares the maps.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.recording import drifting_odometry
from seqnet_ros.datasets.recordings.bag_writer import BagWriter
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.maps.map_part import RecordingPath, read_part, write_part
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.pipelines.map_recording import map_recording
from seqnet_ros.pipelines.shards import Shard, merge_parts, observe_shard
from seqnet_town import CONDITIONS, Drive, Town


def record(path: Path) -> None:
    """Write a bag of a drive through a rendered town, with odometry."""
    drive = Drive(Town(2, (2, 1)), CONDITIONS['day'])
    with BagWriter(path) as bag:
        for frame, pose in zip(drive, drifting_odometry(drive.poses, 0), strict=True):
            bag.write_image('/camera/image_raw', frame.stamp_ns, frame.read())
            bag.write_odometry('/odom', frame.stamp_ns, pose)


def row_of(folder: Path, count: int, model: PlaceModel, whole_id: str) -> list[str]:
    """Map the bag in some shards; return the cells of the table."""
    opened = RecordingPath(path=str(folder / 'bag'), folder='')
    parts, seconds = [], []
    for number in range(1, count + 1):
        started = time.perf_counter()
        parts.append(folder / f'{number}-of-{count}.npz')
        write_part(observe_shard(opened, Shard(number, count), model), parts[-1])
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    merged = merge_parts(parts, lambda manifest: model).place_map
    merging = time.perf_counter() - started
    described = [read_part(part).manifest.observed for part in parts]
    return [f'{count}', f'{min(described)} to {max(described)}',
            f'{min(seconds):.1f} to {max(seconds):.1f}', f'{merging:.1f}',
            f'{max(seconds) + merging:.1f}',
            'yes' if merged.manifest.map_id == whole_id else 'no']


def run(counts: Sequence[int], model: PlaceModel) -> Table:
    """Measure, and return the table."""
    table = Table('shards', 'described in each', 'seconds for each', 'merging', 'together',
                  'same map')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record(folder / 'bag')
        model.describe(next(iter(open_source(folder / 'bag'))).read())  # the first one takes longer
        started = time.perf_counter()
        whole = map_recording(open_source(folder / 'bag'), Mapper(model)).place_map
        seconds = f'{time.perf_counter() - started:.1f}'
        table.add_row('one process', str(len(whole)), seconds, '', seconds, '')
        for count in counts:
            table.add_row(*row_of(folder, count, model, whole.manifest.map_id))
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.shards', description=__doc__)
    parser.add_argument('--model', default='')
    parser.add_argument('--counts', nargs='+', type=int, default=[2, 4, 8])
    arguments = parser.parse_args()
    Console(width=120).print(run(arguments.counts, load_model(arguments.model, 'cpu')))


if __name__ == '__main__':
    main()
