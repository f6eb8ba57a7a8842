"""What is set on a node: its inputs, its model and its map.

The engine's own settings are in `seqnet_ros.config`.
"""

from typing import Any, Literal

from pydantic import Field

from seqnet_ros.config import Settings

APPLIED = 'applied'
"""Key of a field's extra information that says when a new value counts."""
AT_START: dict[str, Any] = {APPLIED: 'start'}
AT_ACTIVATION: dict[str, Any] = {APPLIED: 'activate'}
AT_ONCE: dict[str, Any] = {APPLIED: 'live'}


class NodeSettings(Settings):
    """What both nodes have; a field that says nothing else is applied when configuring."""

    model: str = Field('hog', min_length=1, description='Name of a model, or its YAML file.')
    weights: str = Field(
        '', description="Local weights to use in place of those the model names; '' is those.")
    device: Literal['auto', 'cuda', 'cpu', 'openvino'] = Field(
        'auto', description="Where networks run; 'openvino' is the CPU with the package openvino.")
    image_transport: Literal['raw', 'compressed'] = Field(
        'raw', json_schema_extra=AT_ACTIVATION,
        description="Subscribe to 'image' (raw) or to 'image/compressed'.")
    image_reliability: Literal['best_effort', 'reliable'] = Field(
        'best_effort', json_schema_extra=AT_ACTIVATION,
        description='Reliability asked of the camera; best effort accepts both.')
    image_queue_depth: int = Field(
        5, ge=1, le=1000, json_schema_extra=AT_ACTIVATION,
        description='Images the middleware keeps; the node itself keeps only the newest.')
    use_odometry: bool = Field(
        True, json_schema_extra=AT_ACTIVATION, description="Subscribe to 'odometry'.")
    silence_after_s: float = Field(
        5.0, gt=0, le=3600, json_schema_extra=AT_ONCE,
        description='Warn when no image came for this long, s of wall time.')
    diagnostics_period_s: float = Field(
        1.0, ge=0.1, le=60, json_schema_extra=AT_START,
        description='Time between two reports on /diagnostics, s of wall time.')
    autostart: bool = Field(
        True, json_schema_extra=AT_START,
        description='Configure and activate at start, without a lifecycle manager.')


class LocalizerSettings(NodeSettings):
    """What the localizer has."""

    model: str = Field(
        '', description="Name of a model, or its YAML file; '' is the one the map was made with, "
                        "or hog where no map is named.")
    map: str = Field(
        '', description="Directory of the map to search; '' waits for ~/load_map.")
    map_frame: str = Field(
        'map', min_length=1, description='frame_id of the published poses.')


class MapperSettings(NodeSettings):
    """What the mapper has."""

    map: str = Field(
        '', json_schema_extra=AT_ONCE,
        description="Directory to save the map in where ~/save_map names none; '' is nowhere.")
    save_on_shutdown: bool = Field(
        True, json_schema_extra=AT_ONCE,
        description='Save the map when the node is deactivated or ends.')
