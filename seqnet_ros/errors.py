"""Errors that a user can act on: one sentence naming what was found and what was expected."""


class SeqnetRosError(Exception):
    """Base of every error caused by input; the command line turns it into exit status 2."""


class InputError(SeqnetRosError):
    """An image, bag, video, pose file or array that cannot be used."""


class DamagedImageError(InputError):
    """An image of a recording that cannot be read; the recording goes on without it."""


class ModelError(SeqnetRosError):
    """A model file or checkpoint that is missing, inconsistent or unsafe."""


class MapError(SeqnetRosError):
    """A map that is missing, damaged or made for something else."""


class MapNotFoundError(MapError):
    """No map lies at the given path."""


class MapCorruptError(MapError):
    """A map file is truncated, altered or of an unknown format."""


class MapModelMismatchError(MapError):
    """The map was made with another model than the one in use."""


class MapWriteError(MapError):
    """A map could not be saved; whatever lay at the path before is untouched."""
