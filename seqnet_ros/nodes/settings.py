"""What is set on a node: its inputs, its model and its map.

The engine's own settings are in `seqnet_ros.config.engine`.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.errors import InputError, SeqnetRosError

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
    camera_sync_s: float = Field(
        0.02, ge=0, le=10, json_schema_extra=AT_ACTIVATION,
        description='Images of several cameras at most this far apart are of one moment, s.')
    use_camera_info: bool = Field(
        True, json_schema_extra=AT_ACTIVATION,
        description="Subscribe to 'camera_info' where the model has geometry settings.")
    base_from_camera: str = Field(
        '', description="Pose of the camera in the robot's frame, 'x y z qx qy qz qw', m; '' is an "
                        'optical frame in its origin that looks ahead.')
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
        '', description="Directory of the map to search, or several joined by ':'; '' waits for "
                        '~/load_map.')
    maps_overlap: bool = Field(
        False, description='Several maps may show the same places: a rival in another map does not '
                           'make a match ambiguous.')
    map_frame: str = Field(
        'map', min_length=1, description='frame_id of the published poses.')
    odom_frame: str = Field(
        '', description="Child of map_frame with publish_tf; '' is the frame of the odometry.")
    publish_tf: bool = Field(
        False, json_schema_extra=AT_ACTIVATION,
        description='Publish map_frame -> odom_frame on /tf; needs odometry and tf2_msgs.')
    tf_tolerance_s: float = Field(
        0.1, ge=0, le=60, json_schema_extra=AT_ONCE,
        description='The transform is stamped this far ahead, s.')
    publish_initial_pose: bool = Field(
        False, json_schema_extra=AT_ACTIVATION,
        description="Publish the first accepted pose on 'initialpose', and again after a map was "
                    'loaded, a pause, or a break in the images.')


class MappingSettings(NodeSettings):
    """What nodes that make a map have."""

    cameras: int = Field(
        1, ge=1, le=16, description="Cameras described as one place, on 'image', 'image_1', ...")
    map: str = Field(
        '', json_schema_extra=AT_ONCE,
        description="Directory to save the map in where ~/save_map names none; '' is nowhere.")
    save_on_shutdown: bool = Field(
        True, json_schema_extra=AT_ONCE,
        description='Save the map when the node is deactivated or ends.')
    overwrite: bool = Field(
        False, json_schema_extra=AT_ONCE,
        description='Replace another map that lies where the map is saved.')
    backup: bool = Field(
        True, json_schema_extra=AT_ONCE,
        description='Keep a map that is replaced or extended as NAME~1, or with the next free '
                    'number.')
    keep_images: bool = Field(
        True, description='Keep a small picture of every place, for ~/debug_image.')


class MapperSettings(MappingSettings):
    """What the mapper has."""

    extend: bool = Field(
        False, description='Add this drive to the map that lies at the parameter map, as another '
                           'session; odometry must be in the frame of that map.')


class LoopCloserSettings(MappingSettings):
    """What the loop closer has."""

    save_on_shutdown: bool = Field(
        False, json_schema_extra=AT_ONCE,
        description='Save the map when the node is deactivated or ends.')


class EvaluatorSettings(Settings):
    """What the evaluator has; all of it is set at the start."""

    map: str = Field(
        '', json_schema_extra=AT_START,
        description="Directory of the map that the localizer searches, or several joined by ':'.")
    truth_type: Literal['odometry', 'pose', 'pose_with_covariance'] = Field(
        'odometry', json_schema_extra=AT_START,
        description="What comes on 'truth': nav_msgs/Odometry, geometry_msgs/PoseStamped or "
                    'geometry_msgs/PoseWithCovarianceStamped, in the frame of the map.')
    tolerance_m: float = Field(
        5.0, gt=0, le=1e6, json_schema_extra=AT_START,
        description='A place is right within this distance of the truth, m.')
    tolerance_deg: float = Field(
        180.0, gt=0, le=180, json_schema_extra=AT_START,
        description='And when turned by no more than this, degrees; 180 is any heading.')
    planar: bool = Field(
        False, json_schema_extra=AT_START,
        description='Leave heights out, as where the truth comes from satellites.')
    truth_patience_s: float = Field(
        5.0, ge=0, le=3600, json_schema_extra=AT_START,
        description='How long a match waits for its true pose, s of wall time; then it counts as '
                    'one without.')
    period_s: float = Field(
        1.0, ge=0.05, le=3600, json_schema_extra=AT_START,
        description='Shortest time between two messages on ~/evaluation, s of wall time.')
    silence_after_s: float = Field(
        10.0, gt=0, le=3600, json_schema_extra=AT_START,
        description='Warn when no match or no true pose came for this long, s of wall time.')
    diagnostics_period_s: float = Field(
        1.0, ge=0.1, le=60, json_schema_extra=AT_START,
        description='Time between two reports on /diagnostics, s of wall time.')


def map_paths(text: str) -> list[Path]:
    """Read the directories of one map or several, joined by ':'.

    Raises:
        InputError: it names none, or the home of somebody unknown.
    """
    paths = [user_path(part) for part in text.split(':') if part]
    if not paths:
        raise InputError(f'{text!r} names no map, expected its directory')
    return paths


def user_path(text: str, refusal: type[SeqnetRosError] = InputError) -> Path:
    """Read a path that may begin with '~'.

    Raises:
        SeqnetRosError: it begins with the home of somebody unknown; of the kind ``refusal``.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise refusal(f'{text} is in the home of somebody unknown') from error
