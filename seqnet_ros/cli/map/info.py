"""``seqnet_ros map info``: show the manifest of a map."""

from typing import TYPE_CHECKING

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields

if TYPE_CHECKING:
    from seqnet_ros.maps.place_map import MapManifest


def info(path: options.MapPath) -> None:
    """Show the model, size, spacing and poses of a map; only its manifest is read.

    If the model projects frames, the length of the frames that are compared is shown too.
    """
    from seqnet_ros.maps.map_reader import read_manifest

    manifest, files = read_manifest(path)
    size = sum(entry.bytes for entry in files.values())
    print_fields({'map': path, **manifest_fields(manifest), 'size': f'{size / 1e6:.1f} MB'})


def manifest_fields(manifest: 'MapManifest') -> dict[str, object]:
    """Return the content of a manifest, by name, in human-readable form."""
    return {
        'id': manifest.map_id,
        'model': f'{manifest.model.name} ({manifest.fingerprint[:8]})',
        'places': manifest.places,
        'spacing': manifest.spacing,
        'route': f'{manifest.route_length_m:.1f} m',
        'poses': manifest.pose_origin,
        **({} if manifest.datum is None else {'origin on the earth': manifest.datum.point}),
        'source': manifest.source,
        'sequence length': manifest.sequence_length,
        'descriptors': describe_dimensions(manifest),
        **({} if manifest.stored == 'float32' else {'stored as': manifest.stored}),
        **_describe_images(manifest),
        **_describe_completeness(manifest),
        **({'views': len(manifest.views)} if manifest.views else {}),
    }


def _describe_completeness(manifest: 'MapManifest') -> dict[str, object]:
    """Return what the drives lack, and what helps."""
    from seqnet_ros.maps.completeness import ADVICE

    found = manifest.completeness
    if found is None:
        return {}
    return {'images': found, **({'incomplete': ADVICE} if found.incomplete else {})}


def _describe_images(manifest: 'MapManifest') -> dict[str, object]:
    """Return the local features, pictures and camera of a map, as far as it has them."""
    fields: dict[str, object] = {}
    if manifest.features is not None:
        record = manifest.features
        fields['local features'] = (f'{record.features}, up to {record.max_features} per image, '
                                    f'images up to {record.max_width} pixels wide')
    if manifest.images:
        fields['pictures'] = 'one per place'
    camera = manifest.camera_model
    if camera is not None:
        fields['camera'] = f'{camera.width}x{camera.height}, {camera.distortion_model}'
    return fields


def describe_dimensions(manifest: 'MapManifest') -> str:
    """Return the lengths of the descriptors of a map in words."""
    dimensions = f'{manifest.dim} per frame, {manifest.sequence_dim} per sequence'
    if not manifest.model.projects_frames:
        return dimensions
    return f'{dimensions}, {manifest.matching_dim} per frame for matching (projection)'
