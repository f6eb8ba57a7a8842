"""``seqnet_ros bag write``: a recording as a bag."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.options import Poses


def write(
    images: Annotated[Path, typer.Argument(
        help='Image folder or video.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the bag; must not exist.', show_default=False)],
    poses: Poses = None,
    rate: Annotated[float | None, typer.Option(
        help='Images per second.', show_default="10, or the video's")] = None,
    compressed: Annotated[bool, typer.Option(
        '--compressed', help='Write JPEG instead of raw pixels.')] = False,
) -> None:
    """Write images to an mcap bag, and their poses as odometry on /odom.

    Images go to /camera/image_raw, as JPEG to /camera/image_raw/compressed with --compressed. An
    existing bag is never overwritten.
    """
    from seqnet_ros.datasets.recordings.bag_writer import write_bag
    from seqnet_ros.datasets.recordings.open_recording import open_source

    source = open_source(images, poses=poses, rate=rate)
    with progress_bar('writing', len(source)) as show:
        count = write_bag(source, output, compressed=compressed,
                          progress=lambda done, _: show(done))
    print_fields({'bag': output, 'images': count, 'poses': source.pose_origin})
