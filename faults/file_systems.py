"""Disks that are full or read-only, and permissions that bind even root, for one process."""

import ctypes
import os
import struct
from pathlib import Path

from faults.children import in_child

_NEW_MOUNTS, _NEW_USER = 0x0002_0000, 0x1000_0000
_CAPABILITY_VERSION = 0x2008_0522
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 1 << 5, 1 << 12, 1 << 14, 1 << 18


def enter_namespace() -> None:
    """Give this process mounts of its own, so that others do not see what it mounts.

    Raises:
        OSError: the system does not permit it.
    """
    user, group = os.geteuid(), os.getegid()
    _call('unshare', _NEW_MOUNTS | (_NEW_USER if user else 0))
    if user:
        Path('/proc/self/setgroups').write_text('deny')
        Path('/proc/self/uid_map').write_text(f'0 {user} 1')
        Path('/proc/self/gid_map').write_text(f'0 {group} 1')
    _call('mount', b'none', b'/', None, _RECURSIVE | _PRIVATE, None)


def mount_small(folder: Path, size: int) -> None:
    """Put an empty file system of some bytes in place of a folder."""
    _call('mount', b'tmpfs', os.fsencode(folder), b'tmpfs', 0, f'size={size}'.encode())


def mount_read_only(folder: Path) -> None:
    """Make a folder read-only, for everybody."""
    path = os.fsencode(folder)
    _call('mount', path, path, None, _BIND, None)
    _call('mount', None, path, None, _BIND | _REMOUNT | _READ_ONLY, None)


def unmount(folder: Path) -> None:
    """Take the newest mount of a folder away."""
    _call('umount2', os.fsencode(folder), 0)


def drop_privileges() -> None:
    """Let permissions bind this process like any other, if it is one of root."""
    _call('capset', struct.pack('Ii', _CAPABILITY_VERSION, 0), bytes(24))


def can_mount() -> bool:
    """Return whether this system permits it, as most do for root or in namespaces of users."""
    return in_child(_try_namespace) == 0


def _try_namespace() -> None:
    try:
        enter_namespace()
    except OSError:
        os._exit(1)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f'{name}: {os.strerror(number)}')
