"""Your own network as a Python function."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from pydantic import Field

from seqnet_ros.config.model import ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.own_network import OwnNetworkConfig, OwnNetworkDescriber, first_line

if TYPE_CHECKING:
    from seqnet_ros.descriptors.device import Device


class PythonConfig(OwnNetworkConfig):
    """A function that is imported, from normalized images to vectors."""

    runs_code: ClassVar[bool] = True

    kind: Literal['python'] = 'python'
    path: str = Field(
        pattern=r'^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$',
        description="The function, as 'module:name'. It takes float32 [N, 3, H, W] and returns "
                    'floating-point numbers [N, out_dim], both NumPy.')
    version: str = Field(
        '', exclude_if=lambda version: not version,
        description='Change it when the vectors change: maps of another version are refused.')

    @property
    def label(self) -> str:
        """Name of the vectors in messages."""
        return self.path


def build_python(config: ModelConfig, _device: 'Device', _base_dir: Path | None,
                 ) -> OwnNetworkDescriber:
    """Build the describer of a model; the function chooses its device itself.

    Raises:
        ModelError: the function cannot be imported, or what it returns does not fit the settings.
    """
    frame = cast(PythonConfig, config.frame)
    module_name, _, name = frame.path.partition(':')
    try:
        found: Any = import_module(module_name)
    except Exception as error:  # whatever a module from outside raises
        raise ModelError(f'frame.path is {frame.path!r}, but {module_name} cannot be imported: '
                         f'{type(error).__name__}: {first_line(error)}') from error
    for part in name.split('.'):
        found = getattr(found, part, None)
    if not callable(found):
        raise ModelError(f'frame.path is {frame.path!r}, but {module_name} has no function {name}')
    return OwnNetworkDescriber(frame.path, found, config, '')
