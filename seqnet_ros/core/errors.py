"""Errors that a user can act on; each message states the actual and the expected value."""

from seqnet_ros.core.printable import printable

_MOST_QUOTED = 200


class SeqnetRosError(Exception):
    """Base of every error caused by input; the command line turns it into exit status 2.

    Its text is one line, harmless to print, whatever the input holds that it quotes.
    """

    def __str__(self) -> str:
        """Return the message."""
        return printable(super().__str__())


def shortened(value: object, most: int = _MOST_QUOTED) -> str:
    """Return the first line of a text of unknown origin, cut where it is long.

    Args:
        value: the text, or an exception.
        most: characters, at most.
    """
    text = (str(value).strip() or type(value).__name__).splitlines()[0].rstrip('. ')
    return text if len(text) <= most else f'{text[:most]}...'


def quoted(value: object) -> str:
    """Return a value of unknown origin as Python writes it, cut where it is long."""
    return shortened(repr(value))


class InputError(SeqnetRosError):
    """An image, bag, video, pose file or array that cannot be used."""


class SessionAlignmentError(InputError):
    """A drive that cannot be aligned with a map, because they agree too little."""


class DamagedImageError(InputError):
    """An unreadable image of a recording; it is skipped."""


class ModelError(SeqnetRosError):
    """A model file or checkpoint that is missing, inconsistent or unsafe."""


class PluginError(SeqnetRosError):
    """A plugin cannot be loaded, or adds something under a name that is taken."""


class MapError(SeqnetRosError):
    """A map that is missing, damaged or made for something else."""


class MapNotFoundError(MapError):
    """There is no map at the given path."""


class MapCorruptError(MapError):
    """A map file is truncated, altered or of an unknown format."""


class MapModelMismatchError(MapError):
    """The map was made with another model than the one in use."""


class DuplicateMapError(MapError, InputError):
    """A map is given twice."""


class MapWriteError(MapError):
    """A map could not be saved; what was at the path before is untouched."""


class MapExistsError(MapWriteError):
    """A map exists at the path and must not be replaced."""


class MapConflictError(MapWriteError):
    """The map at the path is not the one that was to be replaced."""


class ResultError(SeqnetRosError):
    """A search returned an impossible result; it is reported as an error, never as a place."""


class MapChangedError(MapError):
    """Another program has written to the files of a map that is in use."""


class FleetError(MapError):
    """A server or store with the map of a fleet refuses, or holds something else."""


class FleetAwayError(FleetError):
    """The server with the map of a fleet does not answer."""
