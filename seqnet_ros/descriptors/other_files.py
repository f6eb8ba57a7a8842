"""Recognizes files that are often given as weights and are none, by their content.

A download that failed leaves a web page or a Git LFS pointer; models are exported to formats that
hold a program rather than named tensors. Only the beginning and the table of an archive are read.
"""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

_HEAD = 512
_PAGE = re.compile(rb'(\xef\xbb\xbf)?\s*<(!doctype html|html|head|!--)', re.IGNORECASE)
_XML = re.compile(rb'(\xef\xbb\xbf)?\s*<\?xml')
_NETWORK = re.compile(rb'<net\b')
# A protobuf message: version of the format, then one of the fields that follow it.
_ONNX = re.compile(rb'\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]')
_TENSORS = 'save its tensors by name, as `torch.save(model.state_dict(), file)` does'
_PROGRAM = f'its tensors have no names to check; {_TENSORS}'


class OtherFile(NamedTuple):
    """A file that holds no weights.

    Attributes:
        kind: what it is, with its article.
        help: what to do.
        runs_as: kind of the frame descriptor that runs it; None if none does.
    """

    kind: str
    help: str
    runs_as: str | None = None


_STARTS = (
    (b'version https://git-lfs.github.com/spec/', OtherFile(
        'a Git LFS pointer', 'run `git lfs pull` in the clone to get the file itself')),
    (b'MATLAB ', OtherFile('a MATLAB file', _TENSORS)),
    (b'\x89HDF\r\n\x1a\n', OtherFile('an HDF5 file of Keras or MATLAB', _TENSORS)),
    (b'\x93NUMPY', OtherFile('a NumPy array', _TENSORS)))


_NETWORKS = {
    'onnx': 'an ONNX file or OpenVINO model', 'torchscript': 'a TorchScript network'}
"""What each kind of frame descriptor runs whose network is a file."""
_TORCH_PICKLE = b'\x80'


def why_not_network(path: Path, kind: str) -> str | None:
    """Return what a file is, in place of a network, and what to do; None if it may be one.

    Args:
        path: the file.
        kind: of the frame descriptor that is to run it; 'onnx' and 'torchscript' are known.

    Raises:
        OSError: the file cannot be read.
    """
    if kind not in _NETWORKS:
        return None
    found, expected = recognize_other_file(path), _NETWORKS[kind]
    if found is None:
        return (f'tensors without a network, expected {expected}: export the network'
                if _holds_tensors(path) else None)
    if found.runs_as == kind:
        return None
    if found.runs_as is not None:
        advice = f'set frame.kind to {found.runs_as}'
    else:
        advice = 'export the network' if found.help in (_TENSORS, _PROGRAM) else found.help
    return f'{found.kind}, expected {expected}: {advice}'


def _holds_tensors(path: Path) -> bool:
    with path.open('rb') as file:
        head = file.read(9)
    return head.startswith((b'PK', _TORCH_PICKLE)) or head[8:] == b'{'


def recognize_other_file(path: Path) -> OtherFile | None:
    """Return what a file is that holds no weights; None if it may hold some.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open('rb') as file:
        head = file.read(_HEAD)
    if not head:
        return OtherFile('an empty file', 'copy or download it again')
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if _XML.match(head) and _NETWORK.search(head):
        return OtherFile('an OpenVINO network', _PROGRAM, 'onnx')
    if _PAGE.match(head) or _XML.match(head):
        return OtherFile('a saved web page', 'download the file that the page leads to')
    if head[4:8] == b'TFL3':
        return OtherFile('a TensorFlow Lite network', _PROGRAM)
    if _ONNX.match(head) and head[8:9] != b'{':
        return OtherFile('an ONNX network', _PROGRAM, 'onnx')
    return _recognize_archive(path) if head.startswith(b'PK') else None


def _recognize_archive(path: Path) -> OtherFile | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError):
        return None  # the reader says what is wrong with it
    if any('/code/' in name or name.endswith('/constants.pkl') for name in names):
        return OtherFile('a TorchScript network', _PROGRAM, 'torchscript')
    if any(name.endswith('archive_format') for name in names):
        return OtherFile('a network of torch.export', _PROGRAM)
    if names and all(name.endswith('.npy') for name in names):
        return OtherFile('an archive of NumPy arrays', _TENSORS)
    if not any(name.endswith('data.pkl') for name in names):
        return OtherFile('a ZIP archive of other files', 'extract the weights from it')
    return None
