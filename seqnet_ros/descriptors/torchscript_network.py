"""Your own network as a TorchScript file."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from seqnet_ros.config.model import ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.own_network import (
    OwnNetworkConfig,
    OwnNetworkDescriber,
    find_network,
    first_line,
)

if TYPE_CHECKING:
    from seqnet_ros.descriptors.device import Device


class TorchScriptConfig(OwnNetworkConfig):
    """A network in a TorchScript file, from normalized images to vectors.

    `frame.path` names the file, as `weights.path` does. TorchScript is a program: use files that
    you trust.
    """

    takes_weights: ClassVar[bool] = True
    is_file: ClassVar[bool] = True
    is_program: ClassVar[bool] = True

    kind: Literal['torchscript'] = 'torchscript'
    output: str | None = Field(
        None, description='Key or number of the output with the vectors; none for the only one.')


def build_torchscript(config: ModelConfig, device: 'Device', base_dir: Path | None,
                      ) -> OwnNetworkDescriber:
    """Build the describer of a model; it runs in float32.

    Raises:
        ModelError: there is no file, it is no TorchScript, or the network does not fit the
            settings.
    """
    import torch

    frame = cast(TorchScriptConfig, config.frame)
    path = find_network(config, base_dir)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', FutureWarning)  # what is published is in this format
            network = torch.jit.load(path, map_location=device.device).eval()
    except (RuntimeError, OSError, ValueError) as error:
        raise ModelError(f'{path} is not a TorchScript file: {first_line(error)}') from error

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        found = _select(network(torch.from_numpy(images).to(device.device)), frame.output, path)
        return cast(np.ndarray, found.float().cpu().numpy())

    return OwnNetworkDescriber(path.name, run, config, file_sha256(path))


def _select(found: Any, wanted: str | None, path: Path) -> Any:
    """Return one of several outputs.

    Raises:
        ModelError: there is no such output, or it is not a tensor.
    """
    import torch

    if not isinstance(found, torch.Tensor):
        named: dict[str, Any] = {}
        if isinstance(found, Mapping):
            named = {str(name): value for name, value in found.items()}
        elif isinstance(found, tuple | list):
            named = {str(number): value for number, value in enumerate(found)}
        if wanted not in named:
            outputs = ', '.join(map(repr, named)) or type(found).__name__
            raise ModelError(f'{path} has the outputs {outputs}, but frame.output is '
                             f'{"not set" if wanted is None else repr(wanted)}')
        found = named[wanted]
    elif wanted is not None:
        raise ModelError(f'{path} has a single output, but frame.output is {wanted!r}')
    if not isinstance(found, torch.Tensor):
        raise ModelError(f'{path} gives a {type(found).__name__}, expected a tensor')
    return found
