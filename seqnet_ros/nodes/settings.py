"""Parameters of the nodes: inputs, model and map.

The engine's own settings are in `seqnet_ros.config.engine`.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from seqnet_ros.config.settings import Settings
from seqnet_ros.config.upkeep import UpkeepConfig
from seqnet_ros.core.errors import InputError, SeqnetRosError
from seqnet_ros.core.images import DEFAULT_MEGAPIXELS
from seqnet_ros.maps.fleet.address import FleetAddress, is_fleet_address, parse_address
from seqnet_ros.models.default_model import DEFAULT_TEXT

APPLIED = 'applied'
"""Metadata key of a field that states when a new value takes effect."""
AT_START: dict[str, Any] = {APPLIED: 'start'}
AT_ACTIVATION: dict[str, Any] = {APPLIED: 'activate'}
AT_ONCE: dict[str, Any] = {APPLIED: 'live'}


class NodeSettings(Settings):
    """Parameters of all nodes with images; applied at configuration unless stated otherwise."""

    model: str = Field(
        '', description=f"Name of a model, or its YAML file; '' is {DEFAULT_TEXT}.")
    weights: str = Field(
        '', description='Local weights that replace those of the model: a file for those of the '
                        "frames, or a folder; '' uses the model's.")
    device: Literal['auto', 'cuda', 'cpu', 'openvino'] = Field(
        'auto', description="Device for networks; 'openvino' is the CPU with the package openvino.")
    image_transport: Literal['auto', 'raw', 'compressed'] = Field(
        'auto', json_schema_extra=AT_ACTIVATION,
        description="Subscribe to 'image' (raw) or to 'image/compressed'; 'auto' takes compressed "
                    'images where only those are published.')
    image_reliability: Literal['auto', 'best_effort', 'reliable'] = Field(
        'auto', json_schema_extra=AT_ACTIVATION,
        description="Requested reliability of the camera topic; best effort accepts both. 'auto' "
                    'begins with best effort and changes to reliable if images are lost and the '
                    'camera offers it.')
    image_queue_depth: int = Field(
        5, ge=1, le=1000, json_schema_extra=AT_ACTIVATION,
        description='Queue depth of the middleware, images.')
    image_queue_mb: int = Field(
        0, ge=0, le=65536, json_schema_extra=AT_ACTIVATION,
        description='Memory for images that wait in the node, MB; 0 keeps only the newest. Beyond '
                    'it, every second waiting image is left out.')
    max_image_megapixels: float = Field(
        DEFAULT_MEGAPIXELS, gt=0, le=4096, json_schema_extra=AT_ACTIVATION,
        description='Larger images are refused before they are decoded, millions of pixels.')
    camera_sync_s: float = Field(
        0.02, ge=0, le=10, json_schema_extra=AT_ACTIVATION,
        description='Images of several cameras are simultaneous if their stamps differ by at most '
                    'this, s.')
    use_camera_info: bool = Field(
        True, json_schema_extra=AT_ACTIVATION,
        description="Subscribe to 'camera_info' if the model has geometry settings.")
    base_from_camera: str = Field(
        '', description="Pose of the camera in the robot's frame, 'x y z qx qy qz qw', m; '' is an "
                        'optical frame at its origin that faces forward.')
    base_frame: str = Field(
        'base_link', min_length=1,
        description='Frame of the robot, which base_from_camera and the relative poses of loops '
                    'refer to.')
    robot_id: str = Field(
        '', description='Name of the robot in the messages, for several robots in one system.')
    use_odometry: bool = Field(
        True, json_schema_extra=AT_ACTIVATION, description="Subscribe to 'odometry'.")
    silence_after_s: float = Field(
        5.0, gt=0, le=3600, json_schema_extra=AT_ONCE,
        description='Warn if no image arrives for this long, s of wall time.')
    diagnostics_period_s: float = Field(
        1.0, ge=0.1, le=60, json_schema_extra=AT_START,
        description='Period of the reports on /diagnostics, s of wall time.')
    autostart: bool = Field(
        True, json_schema_extra=AT_START,
        description='Configure and activate at startup, without a lifecycle manager.')


class LocalizerSettings(NodeSettings):
    """Parameters of the localizer."""

    model: str = Field(
        '', description="Name of a model, or its YAML file; '' is the model of the map. Without a "
                        f'map it is {DEFAULT_TEXT}, until ~/load_map loads the first one.')
    map: str = Field(
        '', description="Directory of the map to search, several joined by ':', the folder of a "
                        "collection, or the address of a map on a server, milvus://host:port/name; "
                        "'' waits for ~/load_map.")
    fix_topic: str = Field(
        '', json_schema_extra=AT_ACTIVATION,
        description="Topic of GNSS fixes (sensor_msgs/NavSatFix) that limit the tiles of a "
                    "collection; '' for none.")
    area_topic: str = Field(
        '', json_schema_extra=AT_ACTIVATION,
        description='Topic of the floor, site or tile that the robot is in (std_msgs/String), '
                    "which limits the tiles of a collection; '' for none.")
    prior_pose_topic: str = Field(
        '', json_schema_extra=AT_ACTIVATION,
        description='Topic of poses (geometry_msgs/PoseWithCovarianceStamped) near which the robot '
                    "is, which limit the tiles of a collection; '' for none.")
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
        description='Time by which the transform is stamped ahead, s.')
    publish_initial_pose: bool = Field(
        False, json_schema_extra=AT_ACTIVATION,
        description="Publish the first accepted pose on 'initialpose', and again after a map was "
                    'loaded, ~/relocalize, a pause, or a break in the images.')
    carry_pose: bool = Field(
        False, json_schema_extra=AT_ACTIVATION,
        description='Publish ~/pose for the images between accepted matches too, carried by '
                    'odometry.')
    carry_limit_m: float = Field(
        20.0, ge=0, le=1e6, json_schema_extra=AT_ACTIVATION,
        description='Way over which odometry carries the pose of an accepted match, m.')
    relocalize_timeout_s: float = Field(
        30.0, gt=0, le=86400, json_schema_extra=AT_ONCE,
        description='How long ~/relocalize waits for an accepted match if the request does not '
                    'say so, s of wall time.')


class MappingSettings(NodeSettings):
    """Parameters of nodes that make a map."""

    cameras: int = Field(
        1, ge=1, le=16, description="Cameras described as one place, on 'image', 'image_1', ...")
    map: str = Field(
        '', json_schema_extra=AT_ONCE,
        description="Directory to save the map in if ~/save_map has no path; '' for none.")
    save_on_shutdown: bool = Field(
        True, json_schema_extra=AT_ONCE,
        description='Save the map when the node is deactivated or shut down.')
    overwrite: bool = Field(
        False, json_schema_extra=AT_ONCE,
        description='Replace another map at the path where the map is saved.')
    backup: bool = Field(
        True, json_schema_extra=AT_ONCE,
        description='Keep a map that is replaced or extended as NAME~1, or with the next free '
                    'number.')
    keep_images: bool = Field(
        True, description='Store a small image of every place, for ~/debug_image.')


class MapperSettings(MappingSettings):
    """Parameters of the mapper."""

    image_queue_mb: int = Field(
        256, ge=0, le=65536, json_schema_extra=AT_ACTIVATION,
        description='Memory for images that wait in the node, MB; 0 keeps only the newest. Beyond '
                    'it, every second waiting image is left out.')
    extend: bool = Field(
        False, description='Add this drive as a session to the map at the parameter map; odometry '
                           'must be in the frame of that map, unless align is set.')
    align: bool = Field(
        False, json_schema_extra=AT_ONCE,
        description='With extend: find the drive on the map, and bring it into the frame of the '
                    'map, when it is saved.')
    refresh: bool = Field(
        False, json_schema_extra=AT_ONCE,
        description='With extend: align the drive, add it only where the map does not know the '
                    'streets as they look now, and retire views that no longer match.')
    most_views: int = Field(
        UpkeepConfig().most_views, ge=1, le=100, json_schema_extra=AT_ONCE,
        description='With refresh: views kept of a street, each in other light or another season.')


class LoopCloserSettings(MappingSettings):
    """Parameters of the loop closer."""

    save_on_shutdown: bool = Field(
        False, json_schema_extra=AT_ONCE,
        description='Save the map when the node is deactivated or shut down.')


class EvaluatorSettings(Settings):
    """Parameters of the evaluator, read at startup only."""

    map: str = Field(
        '', json_schema_extra=AT_START,
        description="Directory of the map that the localizer searches, or several joined by ':'.")
    truth_type: Literal['odometry', 'pose', 'pose_with_covariance'] = Field(
        'odometry', json_schema_extra=AT_START,
        description="Message type of 'truth': nav_msgs/Odometry, geometry_msgs/PoseStamped or "
                    'geometry_msgs/PoseWithCovarianceStamped, in the frame of the map.')
    tolerance_m: float = Field(
        5.0, gt=0, le=1e6, json_schema_extra=AT_START,
        description='A place is correct within this distance of the ground truth, m.')
    tolerance_deg: float = Field(
        180.0, gt=0, le=180, json_schema_extra=AT_START,
        description='Maximum angle to the ground truth, degrees; 180 accepts any heading.')
    planar: bool = Field(
        False, json_schema_extra=AT_START,
        description='Ignore altitude, for example if the ground truth comes from GPS.')
    truth_patience_s: float = Field(
        5.0, ge=0, le=3600, json_schema_extra=AT_START,
        description='Maximum time a match waits for its true pose, s of wall time; after that it '
                    'counts as one without.')
    period_s: float = Field(
        1.0, ge=0.05, le=3600, json_schema_extra=AT_START,
        description='Minimum period of ~/evaluation, s of wall time.')
    silence_after_s: float = Field(
        10.0, gt=0, le=3600, json_schema_extra=AT_START,
        description='Warn if no match or no true pose arrives for this long, s of wall time.')
    diagnostics_period_s: float = Field(
        1.0, ge=0.1, le=60, json_schema_extra=AT_START,
        description='Period of the reports on /diagnostics, s of wall time.')


def map_sources(text: str) -> list[Path] | list[FleetAddress]:
    """Read where maps to be searched are: directories as `map_paths`, or one map on a server.

    Raises:
        InputError: it does not name a map.
    """
    return [parse_address(text)] if is_fleet_address(text) else map_paths(text)


def map_paths(text: str) -> list[Path]:
    """Read the directories of one map or several, joined by ':'.

    A ':' within the name of a directory that exists does not separate.

    Raises:
        InputError: it does not name a map, or is in the home directory of an unknown user.
    """
    paths = [user_path(part) for part in _split_paths(text)]
    if not paths:
        raise InputError(f'{text!r} does not name a map, expected its directory')
    return paths


def _split_paths(text: str) -> list[str]:
    """Split at each ':', taking as many parts together as name a directory that exists."""
    parts, paths = text.split(':'), []
    while parts:
        count = next((count for count in range(len(parts), 1, -1)
                      if _is_folder(':'.join(parts[:count]))),
                     1)
        paths.append(':'.join(parts[:count]))
        del parts[:count]
    return [path for path in paths if path]


def _is_folder(text: str) -> bool:
    # Unlike `Path`, these accept every text.
    return os.path.isdir(os.path.expanduser(text))  # noqa: PTH111, PTH112


def user_path(text: str, refusal: type[SeqnetRosError] = InputError) -> Path:
    """Read a path that may begin with '~'.

    Raises:
        SeqnetRosError: it is in the home directory of an unknown user; of the kind ``refusal``.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise refusal(f'{text} is in the home directory of an unknown user') from error
