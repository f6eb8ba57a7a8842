"""Find the images of a recording in a map."""

import logging
import time
from pathlib import Path

from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.pipelines.match_files import MatchFiles
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.pipelines.summary import Summary

_logger = logging.getLogger(__name__)


def localize_recording(source: FrameSource, localizer: Localizer, output: Path,
                       bars: Bars = no_bar) -> Summary:
    """Find the images of a recording in a map, as ``seqnet_ros localize`` does.

    Damaged images are skipped. The same input gives the same files, except for the times in
    ``summary.json``.

    Args:
        source: the recording, see `seqnet_ros.datasets.recordings.open_recording.open_source`.
        localizer: the engine with its map, without any image so far.
        output: folder of ``matches.csv``, ``matches.jsonl`` and ``summary.json``.
        bars: shows progress.

    Raises:
        InputError: no image can be read, or the files cannot be written.
    """
    summary = Summary()
    started = time.perf_counter()
    tiles = localizer.collection.tiles if isinstance(localizer, CollectionLocalizer) else ()
    names = {tile.map_id: tile.name for tile in tiles}
    with MatchFiles(output, names) as files, bars('localizing', len(source)) as progress:
        walk = RecordingWalk(source, progress, require_poses=False)
        for frame, result in walk.results(lambda frame: localizer.push_lazily(
                image_reader(frame), frame.stamp_ns, frame.pose)):
            summary.add(result)
            if result is not None:
                files.write(frame.index, result, frame.name)
        walk.finish()
        summary.damaged = len(walk.damaged)
        summary.seconds = time.perf_counter() - started
        files.finish({
            'source': source.name, 'poses': source.pose_origin,
            **({'tiles': len(tiles)} if tiles else {'map_id': localizer.map.manifest.map_id}),
            'model': localizer.model.config.name,
            'fingerprint': localizer.model.fingerprint,
            'device': str(localizer.model.device.device), **summary.numbers()})
    if not summary.searched:
        _logger.warning('nothing was searched: %s never filled a sequence of %d keyframes',
                        source.name, localizer.sequence_length)
    return summary
