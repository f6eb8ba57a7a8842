"""Cut a map into the tiles of a collection."""

from pathlib import Path

from seqnet_ros.core.files import staging_folder
from seqnet_ros.maps.builder import select_places
from seqnet_ros.maps.calibration import calibrate
from seqnet_ros.maps.collection.collection_file import CollectionManifest
from seqnet_ros.maps.collection.creation import check_new_folder, create_collection
from seqnet_ros.maps.collection.splitting import cut_cells
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.pipelines.progress import Bars, no_bar

FRAME = 'map'
"""Name of the coordinate frame that the tiles of one map share."""


def split_map(place_map: PlaceMap, model: PlaceModel, output: Path, cell_m: float,
              bars: Bars = no_bar) -> CollectionManifest:
    """Cut a map into a grid of tiles, and make a collection of them.

    Args:
        place_map: the map, with poses.
        model: the model it was made with.
        output: new folder of the collection, which appears complete or not at all.
        cell_m: side of a cell, meters.
        bars: shows progress.

    Raises:
        InputError: the map has no measured poses, or too many cells.
        MapWriteError: something is at the output, or it cannot be written.
    """
    check_new_folder(output)
    engine = place_map.manifest.engine
    if place_map.manifest.filter_calibration is None:
        place_map = place_map.with_filter_calibration(calibrate_filter(place_map, engine.filter))
    cells = list(cut_cells(place_map, cell_m, 2 * place_map.manifest.sequence_length))
    with staging_folder(output) as staging:
        with bars('cutting', len(cells)) as progress:
            for number, cell in enumerate(cells):
                tile = select_places(place_map, cell.places)
                save_map(tile.with_calibration(calibrate(model, tile, engine.matching)),
                         staging / cell.name)
                progress(number + 1)
        with bars('summarizing', len(cells)) as progress:
            made = create_collection(staging, [staging / cell.name for cell in cells], areas={},
                                     frame=FRAME, progress=progress)
        staging.chmod(0o755)
        staging.replace(output)
    return made
