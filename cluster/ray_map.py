"""Make the map of a recording on a Ray cluster: every task makes a part, and one process merges.

``python -m cluster.ray_map RECORDING --output MAP --parts FOLDER --shards 16 --model hog``

Options that it does not know are passed to ``seqnet_ros map build``. All machines must see the
recording and the folder of the parts by the same paths. Without ``--address`` the tasks run on this
machine. Parts that are there stay, so a run that was interrupted goes on.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import ray

COMMAND = (sys.executable, '-m', 'seqnet_ros.cli.main', 'map')


@ray.remote
def make_part(recording: str, shard: str, part: str, options: Sequence[str]) -> str:
    """Make a part of a map; Ray runs it again where a machine fails."""
    if not Path(part).exists():
        subprocess.run([*COMMAND, 'build', recording, '--shard', shard, '--output', part,
                        *options], check=True)
    return part


def map_recording(recording: Path, output: Path, parts: Path, shards: int,
                  options: Sequence[str] = ()) -> None:
    """Make a map with as many tasks as there are shards.

    Args:
        recording: the recording.
        output: folder of the map.
        parts: folder for the parts.
        shards: number of parts.
        options: further options of ``map build``.

    Raises:
        RuntimeError: a part could not be made, or the parts could not be merged.
    """
    parts.mkdir(parents=True, exist_ok=True)
    tasks = [make_part.remote(str(recording.absolute()), f'{number}/{shards}',
                              str((parts / f'{number}-of-{shards}.npz').absolute()), options)
             for number in range(1, shards + 1)]
    made = ray.get(tasks)
    if subprocess.run([*COMMAND, 'merge', *made, '--output', str(output)]).returncode:
        raise RuntimeError('the parts could not be merged')


def main() -> None:
    """Make the map."""
    parser = argparse.ArgumentParser(prog='python -m cluster.ray_map', description=__doc__,
                                     allow_abbrev=False)
    parser.add_argument('recording', type=Path)
    parser.add_argument('--output', type=Path, required=True)
    parser.add_argument('--parts', type=Path, required=True)
    parser.add_argument('--shards', type=int, default=8)
    parser.add_argument('--address', help='of the Ray cluster')
    parser.add_argument('--workers', type=int, help='processes on this machine')
    arguments, options = parser.parse_known_args()
    ray.init(arguments.address, num_cpus=arguments.workers, include_dashboard=False)
    map_recording(arguments.recording, arguments.output, arguments.parts, arguments.shards,
                  options)


if __name__ == '__main__':
    main()
