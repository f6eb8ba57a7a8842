"""Make one map of several recordings, whose odometry may be in frames of their own."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.pipelines.map_recording import collect_places, datum_of_source
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.sessions.alignment import Alignment, align
from seqnet_ros.sessions.joint_alignment import align_together

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Session:
    """A recording and what became of it.

    Attributes:
        recording: the recording.
        mapper: its keyframes.
        without_pose: number of images skipped because they have no pose.
        damaged: one message for each unreadable image.
    """

    recording: FrameSource
    mapper: Mapper
    without_pose: int
    damaged: tuple[str, ...]

    def finish(self, alignment: Alignment | None = None) -> PlaceMap:
        """Make the map of this session and what it extends."""
        if alignment is None:
            return self.mapper.finish(self.recording.name, self.recording.pose_origin,
                                      datum=datum_of_source(self.recording))
        return self.mapper.finish(
            self.recording.name, self.recording.pose_origin, poses=alignment.poses)


@dataclass(eq=False)
class MappedSessions:
    """A map of several recordings.

    Attributes:
        place_map: the map.
        sessions: the recordings on the map, in the order in which they were added.
        alignments: how each was aligned; None where it defines the frame or was taken as it is.
        left_out: recordings that cannot be aligned, and why.
        together: whether several recordings were solved for together in the end.
    """

    place_map: PlaceMap
    sessions: list[Session] = field(default_factory=list)
    alignments: list[Alignment | None] = field(default_factory=list)
    left_out: list[tuple[Session, SessionAlignmentError]] = field(default_factory=list)
    together: bool = False


def map_sessions(recordings: Sequence[FrameSource], mapper: Callable[[], Mapper],
                 extends: PlaceMap | None = None, alignment: AlignmentConfig | None = None,
                 bars: Bars = no_bar) -> MappedSessions:
    """Make one map of several recordings, as ``seqnet_ros map build`` does.

    The map to extend, else the first recording, defines the frame and stays as it is. A recording
    that cannot be aligned waits until others are on the map, which may show what the first ones
    lack. In the end the poses of all that were aligned are solved for together.

    Args:
        recordings: at least one.
        mapper: makes an empty mapper.
        extends: the map to which the recordings are added.
        alignment: how recordings are aligned; None takes their poses as they are.
        bars: shows progress.

    Raises:
        InputError: a recording has no usable image, or poses that do not fit the settings.
    """
    waiting = [_collect(recording, mapper(), bars) for recording in recordings]
    if extends is None:
        first = waiting.pop(0)
        with bars('calibrating', 1):
            mapped = MappedSessions(first.finish(), [first], [None])
    else:
        mapped = MappedSessions(extends)
    base = mapped.place_map
    refused: dict[int, SessionAlignmentError] = {}
    progress = True
    while waiting and progress:
        progress = False
        for session in list(waiting):
            try:
                aligned = _align(session, mapped.place_map, alignment, bars)
            except SessionAlignmentError as error:
                refused[id(session)] = error
                continue
            mapped.place_map = _extended(mapped.place_map, session, aligned, bars)
            mapped.sessions.append(session)
            mapped.alignments.append(aligned)
            waiting.remove(session)
            progress = True
    _solve_together(mapped, base, alignment, bars)
    mapped.left_out = [(session, refused[id(session)]) for session in waiting]
    return mapped


def _solve_together(mapped: MappedSessions, base: PlaceMap, config: AlignmentConfig | None,
                    bars: Bars) -> None:
    """Let recordings that were aligned one after the other correct each other.

    Args:
        mapped: the map, whose poses change; those of ``base`` stay.
        base: the map without the aligned recordings.
        config: the settings.
        bars: shows progress.
    """
    aligned = [one for one in mapped.alignments if one is not None]
    if len(aligned) < 2:
        return
    try:
        together = align_together(aligned, len(base), config)
    except SessionAlignmentError as error:
        _logger.warning('the recordings stay as they were aligned one after the other, since '
                        'together %s', error)
        return
    place_map = base
    sessions = mapped.sessions[-len(together):]
    for session, alignment in zip(sessions, together, strict=True):
        _logger.info('%s, together: %s', session.recording.name, alignment)
        place_map = _extended(place_map, session, alignment, bars)
    mapped.place_map, mapped.together = place_map, True
    mapped.alignments[-len(together):] = together


def _extended(place_map: PlaceMap, session: Session, alignment: Alignment | None,
              bars: Bars) -> PlaceMap:
    session.mapper.extend(place_map)
    with bars('calibrating', 1):
        return session.finish(alignment)


def _collect(recording: FrameSource, mapper: Mapper, bars: Bars) -> Session:
    walk = collect_places(recording, mapper, bars)
    return Session(recording, mapper, walk.without_pose, tuple(walk.damaged))


def _align(session: Session, place_map: PlaceMap, config: AlignmentConfig | None,
           bars: Bars) -> Alignment | None:
    if config is None:
        return None
    with bars('aligning', len(session.mapper)) as progress:
        aligned = align(place_map, session.mapper, config, progress)
    _logger.info('%s: %s', session.recording.name, aligned)
    return aligned
