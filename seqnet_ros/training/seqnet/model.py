"""Makes a model file from a trained SeqNet."""

from os import PathLike
from pathlib import Path

from torch import Tensor

from seqnet_ros.config.model import ModelConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.describer import frame_dim
from seqnet_ros.models.place_model import load_preset
from seqnet_ros.training.common.model_files import (
    WeightsFile,
    document_of,
    new_model_path,
    write_model,
)
from seqnet_ros.training.seqnet.run import SeqNetRun


def create_model(run: SeqNetRun, frame_model: str | Path, output: str | PathLike[str],
                 match_run: SeqNetRun | None = None) -> Preset:
    """Write a model of a trained SeqNet on the frame descriptors of another model.

    The weights are beside the model file, as safetensors. Centering is off: SeqNet is trained on
    descriptors as they are.

    Args:
        run: the trained SeqNet.
        frame_model: name or YAML file of the model whose image, frame descriptor, keyframe and
            matching settings are used.
        output: the YAML file to write, which names the model; it must not exist.
        match_run: a SeqNet with kernel 1 that describes frames for sequence matching (the paper's
            HVPR); None matches the frame descriptors unchanged.

    Returns:
        The model as written; paths are relative to its file.

    Raises:
        ModelError: there is no such frame model, its descriptors are of another length, or the
            kernel of ``match_run`` is not 1.
        InputError: the file exists, has another ending, or cannot be written.
    """
    path = new_model_path(output, '.safetensors', '-matching.safetensors')
    preset, base_dir = load_preset(frame_model)
    frame = preset.model
    _check_run(run, frame)
    document = document_of(preset, base_dir)
    document.update(
        name=path.stem,
        description=f'SeqNet of {run.length} frames and kernel {run.kernel} on {frame.name}.',
        centring=False,
        sequence={'length': run.length, 'aggregator': 'seqnet', 'kernel': run.kernel,
                  'out_dim': run.out_dim})
    document.pop('projection', None)
    files = [WeightsFile('.safetensors', document['sequence'], _tensors(run))]
    if match_run is not None:
        _check_run(match_run, frame)
        if match_run.kernel != 1:
            raise ModelError('the run for sequence matching describes single frames, but its '
                             f'kernel spans {match_run.kernel}, expected 1')
        document['description'] += f' Frames are matched in {match_run.out_dim} dimensions.'
        document['projection'] = {'out_dim': match_run.out_dim}
        files.append(WeightsFile('-matching.safetensors', document['projection'],
                                 _tensors(match_run)))
    return write_model(path, document, files)


def _check_run(run: SeqNetRun, frame: ModelConfig) -> None:
    if frame_dim(frame) != run.in_dim:
        raise ModelError(f'model {frame.name} makes frame descriptors of length '
                         f'{frame_dim(frame)}, but the SeqNet takes {run.in_dim}')


def _tensors(run: SeqNetRun) -> dict[str, Tensor]:
    return {f'sequence.{name}': tensor for name, tensor in run.module.state_dict().items()}
