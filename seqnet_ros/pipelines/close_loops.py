"""Find the loops that a recording closes with itself."""

import csv
import io
import time
from pathlib import Path

from seqnet_ros.core.files import explain_write_errors, whole_file
from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.localization.loop_closer import LoopCloser
from seqnet_ros.localization.result import LoopResult
from seqnet_ros.pipelines.match_files import MatchFiles
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.pipelines.summary import Summary

LOOPS = 'loops.csv'
COLUMNS = ('from_place', 'to_place', 'from_stamp_ns', 'to_stamp_ns', 'score', 'inliers', 'metric',
           'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
_DIGITS = 6


def close_loops(source: FrameSource, closer: LoopCloser, output: Path,
                bars: Bars = no_bar) -> Summary:
    """Find the loops that a recording closes with itself, as ``seqnet_ros loops`` does.

    Images without a pose are skipped where the recording has poses, and so are damaged images.

    Args:
        source: the recording, see `seqnet_ros.datasets.recordings.open_recording.open_source`.
        closer: the engine, without any image so far.
        output: folder of ``loops.csv`` and the files of `localize_recording`.
        bars: shows progress.

    Raises:
        InputError: no image can be used, or the files cannot be written.
    """
    summary, loops = Summary(), []
    started = time.perf_counter()
    with MatchFiles(output) as files, bars('closing loops', len(source)) as progress:
        walk = RecordingWalk(source, progress)
        for frame, result in walk.results(lambda frame: closer.push_lazily(
                image_reader(frame), frame.stamp_ns, frame.pose)):
            summary.add(result)
            if result is None:
                continue
            files.write(frame.index, result, frame.name)
            if result.accepted:
                loops.append(_row(result))
        walk.finish()
        summary.damaged = len(walk.damaged)
        summary.seconds = time.perf_counter() - started
        _write_loops(output, loops)
        files.finish({
            'source': source.name, 'poses': source.pose_origin, 'places': len(closer),
            'loops': len(loops), 'images_without_pose': walk.without_pose,
            'model': closer.model.config.name, 'fingerprint': closer.model.fingerprint,
            'device': str(closer.model.device.device), **summary.numbers()})
    return summary


def _row(result: LoopResult) -> list[object]:
    best = result.best
    assert best is not None
    pose = [''] * 7 if best.relative_pose is None else [
        f'{value:.{_DIGITS}f}' for value in best.relative_pose]
    return [best.place_id, result.place_id, best.stamp_ns, result.stamp_ns,
            f'{best.score:.{_DIGITS}f}', best.inliers, str(best.relative_is_metric).lower(), *pose]


def _write_loops(output: Path, rows: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerows([COLUMNS, *rows])
    with explain_write_errors(output), whole_file(output / LOOPS) as file:
        file.write(text.getvalue().encode())
