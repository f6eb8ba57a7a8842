"""The files of a bag: which they are, in which order, and which are missing."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from seqnet_ros.core.documents import read_yaml
from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.bag_storage import Ros1Storage, Storage
from seqnet_ros.datasets.recordings.decompression import ZSTD_SUFFIX, decompress_file
from seqnet_ros.datasets.recordings.image_folder import is_image, natural_key
from seqnet_ros.datasets.recordings.mcap_storage import McapStorage
from seqnet_ros.datasets.recordings.sqlite_storage import SqliteStorage

_STORAGES: dict[str, Callable[[Path], Storage]] = {
    '.mcap': McapStorage, '.db3': SqliteStorage, '.bag': Ros1Storage}
STORAGE_SUFFIXES = ('.mcap', '.db3')
BAG_SUFFIXES = ('.bag', *STORAGE_SUFFIXES)
_PACKED_SUFFIXES = tuple(suffix + ZSTD_SUFFIX for suffix in STORAGE_SUFFIXES)
_UNFINISHED_SUFFIX = '.active'
_METADATA = 'metadata.yaml'


class BagFiles(NamedTuple):
    """What belongs to a bag.

    Attributes:
        parts: the files to read.
        counted: number of messages by topic and type as the recorder noted it; empty where unknown.
        problems: what is missing.
    """

    parts: list[Path]
    counted: dict[tuple[str, str], int]
    problems: list[str]


def is_bag(path: Path) -> bool:
    """Return whether a path looks like a bag, by its ending or by the files in the folder."""
    if not path.is_dir():
        return path.name.removesuffix(_UNFINISHED_SUFFIX).endswith(BAG_SUFFIXES + _PACKED_SUFFIXES)
    return ((path / _METADATA).exists() or bool(_parts_in(path, STORAGE_SUFFIXES))
            or bool(_ros1_parts(path)))


def find_files(path: Path) -> BagFiles:
    """Return the files of a bag, by its metadata or, where they are lost, by what is there.

    Args:
        path: a file, or a folder.

    Raises:
        InputError: there is no file, it is of another kind, or the folder holds several ROS 1 bags.
    """
    if not path.exists():
        raise InputError(f'bag {path} does not exist')
    if path.is_file():
        return BagFiles([_check_file(path)], {}, [])
    present = _parts_in(path, STORAGE_SUFFIXES) or _ros1_parts(path)
    if not (path / _METADATA).exists():
        if not present:
            raise InputError(f'bag {path} holds neither {_METADATA} nor .mcap, .db3 or .bag files')
        return BagFiles(present, {}, [])
    listed, counted, trouble = _read_metadata(path / _METADATA)
    if not present:
        found = trouble or (f'it names {_listed(listed)}' if listed else 'it names no file')
        raise InputError(f'bag {path} cannot be read: its {_METADATA} is there ({found}), but no '
                         '.mcap, .db3 or .bag file')
    if trouble:
        problem = (f'{path / _METADATA} cannot be used: {trouble}; the files of the folder are '
                   'read without it')
        return BagFiles(present, {}, [problem])
    return _listed_parts(path, listed, present, counted)


def is_packed(file: Path) -> bool:
    """Return whether a file has to be decompressed as a whole."""
    return file.suffix == ZSTD_SUFFIX


def open_storages(paths: Iterable[Path], scratch: Path | None) -> tuple[list[Storage], list[str]]:
    """Open the files of a bag in the order of their time; those that cannot be read are left out.

    Args:
        paths: the files.
        scratch: an existing folder to decompress into; None where no file is packed.

    Returns:
        The files that could be opened, and a message for each other one.

    Raises:
        InputError: none of the files can be read.
    """
    opened: list[Storage] = []
    refused: list[InputError] = []
    for path in paths:
        try:
            file = path
            if is_packed(path):
                assert scratch is not None
                file = decompress_file(path, scratch)
            opened.append(_STORAGES[file.suffix](file))
        except InputError as error:
            refused.append(error)
    if not opened:
        raise refused[0]
    opened.sort(key=lambda storage: storage.start_ns or 0)
    return opened, [f'{error}: this part of the bag is left out' for error in refused]


def _check_file(path: Path) -> Path:
    if path.suffix == _UNFINISHED_SUFFIX:
        raise InputError(f'bag {path} was never closed by its recorder and has no index: '
                         f'`rosbag reindex {path.name}` of ROS 1 writes one')
    if not path.name.endswith(BAG_SUFFIXES + _PACKED_SUFFIXES):
        raise InputError(f'bag {path} ends in {path.suffix!r}, expected '
                         f'{", ".join(BAG_SUFFIXES + _PACKED_SUFFIXES)}')
    if not path.stat().st_size and not path.with_name(f'{path.name}-wal').exists():
        raise InputError(f'bag {path} is an empty file, expected a recording')
    return path


def _parts_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files with some endings, or compressed ones that were not decompressed."""
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: natural_key(file.name)):
        name = file.name.removesuffix(ZSTD_SUFFIX)
        if name.endswith(suffixes) and not name.startswith('.') and file.is_file() and (
                file.name == name or name not in found):
            found[name] = file
    return list(found.values())


def _ros1_parts(folder: Path) -> list[Path]:
    """Return the parts of a ROS 1 bag that was split; none where images lie beside them.

    Raises:
        InputError: there are several bags.
    """
    files = _parts_in(folder, ('.bag',))
    if len(files) < 2:
        return [] if any(map(is_image, folder.iterdir())) else files
    # `rosbag record --split` numbers the parts behind a name and, unless told not to, a date.
    names = {re.sub(r'[-_\d]+$', '', file.stem) for file in files}
    if any(map(is_image, folder.iterdir())):
        return []
    if len(names) > 1:
        raise InputError(f'{folder} holds {len(names)} bags, specify one of: '
                         f'{_listed([file.name for file in files])}')
    return files


def _read_metadata(file: Path) -> tuple[list[str], dict[tuple[str, str], int], str]:
    """Return the listed files, the counts of messages, and why the file cannot be used."""
    try:
        bag: dict[str, Any] = read_yaml(file)['rosbag2_bagfile_information']
        listed = [PurePath(str(entry)).name for entry in bag['relative_file_paths']]
        counted = {}
        for entry in bag.get('topics_with_message_count') or []:
            topic = entry['topic_metadata']
            counted[str(topic['name']), str(topic['type'])] = int(entry['message_count'])
    except InputError as error:
        return [], {}, ' '.join(str(error).split())
    except (ValueError, TypeError, KeyError, AttributeError):
        return [], {}, 'it does not have the fields that rosbag2 writes'
    return listed, counted, ''


def _listed_parts(path: Path, listed: list[str], present: list[Path],
                  counted: dict[tuple[str, str], int]) -> BagFiles:
    """Return the files that the metadata list; where some are not there, also the others."""
    by_name = {file.name: file for file in present}
    by_name |= {file.name.removesuffix(ZSTD_SUFFIX): file for file in present}
    parts = {by_name[name]: None for entry in listed
             for name in (entry, entry.removesuffix(ZSTD_SUFFIX)) if name in by_name}
    missing = [entry for entry in listed
               if entry not in by_name and entry.removesuffix(ZSTD_SUFFIX) not in by_name]
    if not missing:
        return BagFiles(list(parts), counted, [])
    others = [file for file in present if file not in parts]
    text = f'{path / _METADATA} names {_listed(missing)}, which is not in the folder'
    if others:
        text += f'; {_listed([file.name for file in others])} is read, although not listed'
    return BagFiles(list(parts) + others, counted, [text])


def _listed(names: list[str]) -> str:
    shown = ', '.join(names[:5])
    return shown if len(names) <= 5 else f'{shown} and {len(names) - 5} more'
