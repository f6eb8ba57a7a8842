"""Loading of the model that a node runs."""

from dataclasses import replace
from pathlib import Path

from seqnet_ros.models.place_model import PlaceModel, build_model, load_preset
from seqnet_ros.nodes.settings import MappingSettings, NodeSettings, user_path


def local_weights(settings: NodeSettings) -> Path | None:
    """Return the weights that replace those of the model; None to use those of the model."""
    return user_path(settings.weights) if settings.weights else None


def load_mapping_model(settings: MappingSettings) -> PlaceModel:
    """Load the model of a new map, for as many cameras as are set.

    Raises:
        ModelError: there is no such model, or its weights are missing or do not fit.
    """
    preset, folder = load_preset(settings.model, local_weights(settings))
    if settings.cameras > 1:
        preset = replace(
            preset, model=preset.model.model_copy(update={'cameras': settings.cameras}))
    return build_model(preset, settings.device, folder)


def describe_model(model: PlaceModel) -> str:
    """Return name and device of a model, and why it runs there, human-readable."""
    return f'model {model.config.name} on {model.device.device} ({model.device.why})'


def model_values(model: PlaceModel | None) -> dict[str, object]:
    """Return the details of a model for a report; none before it is loaded."""
    if model is None:
        return {}
    return {'model': model.config.name, 'device': model.device.device}
