"""The names of SeqNet's methods, as its code gives them.

Aggregators that are methods by themselves are named in `seqnet_ros.sequences.registry`; this module
names the other methods, which are built from them.
"""

from collections.abc import Callable

from seqnet_ros.config.model import AGGREGATORS

SINGLE = 'single'
"""Frames as they are."""
S1 = 's1'
"""SeqNet with kernel 1, on single frames."""
SEQMATCH = '+seqmatch'
"""Suffix of methods that compare windows frame by frame."""
HVPR = 'hvpr'
ALL = 'all'


def first_stages(*, plugins: bool = True) -> tuple[str, ...]:
    """Return the methods that compare descriptors, with or without those of plugins."""
    return (*_descriptors(plugins), S1)


def methods(*, plugins: bool = True) -> tuple[str, ...]:
    """Return all methods, with or without those of plugins."""
    return (*first_stages(plugins=plugins), SINGLE + SEQMATCH, S1 + SEQMATCH, HVPR)


def poolings(*, plugins: bool = True) -> tuple[str, ...]:
    """Return the methods of one stage by their published names, in which s1 is seqnet."""
    return (*_descriptors(plugins), SINGLE + SEQMATCH, S1 + SEQMATCH)


def is_named(name: str, names: Callable[..., tuple[str, ...]]) -> bool:
    """Return whether a name is one of `names`; plugins are only loaded for names not known yet."""
    return name in names(plugins=False) or name in names()


def _descriptors(plugins: bool) -> tuple[str, ...]:
    return (SINGLE, *(name for name, item in AGGREGATORS.items(plugins=plugins).items()
                      if item.evaluated))
