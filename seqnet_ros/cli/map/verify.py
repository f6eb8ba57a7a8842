"""``seqnet_ros map verify``: check a map."""

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, working
from seqnet_ros.cli.map.info import describe_dimensions


def verify(
    path: options.MapPath,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Check a map's checksums, shapes and values, and that its model makes the same descriptors.

    The fingerprint of the model on this machine is compared with that of the map.
    """
    from seqnet_ros.maps.map_reader import check_model, verify_map
    from seqnet_ros.models.place_model import build_map_model

    with working('reading'):
        manifest = verify_map(path)
    check_model(manifest, build_map_model(
        manifest.preset, device, weights=weights, map_path=path), path)
    print_fields({'map': path, 'verdict': 'sound', 'places': manifest.places,
                  'descriptors': describe_dimensions(manifest),
                  'fingerprint': manifest.fingerprint[:8]})
