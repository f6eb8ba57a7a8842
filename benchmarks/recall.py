"""How well places are found on image folders: ``python -m benchmarks.recall --help``.

Prints one line for each sequence length: Recall@1 over all queries with a full sequence (best
candidate, believed or not), and how many were accepted and how many of those were right.
"""

import argparse
import csv
import dataclasses
from pathlib import Path

import numpy as np

from seqnet_ros.config import ModelConfig
from seqnet_ros.datasets.sources import open_source
from seqnet_ros.evaluation.localization import score_results
from seqnet_ros.matching.localizer import Localizer
from seqnet_ros.matching.mapper import Mapper
from seqnet_ros.matching.result import MatchResult
from seqnet_ros.place_model import PlaceModel, load_model

Images = list[tuple[np.ndarray, int]]


class Remembering:
    """A describer that describes every image once, whatever the number of lengths tried."""

    def __init__(self, describer: object) -> None:
        self._describer = describer
        self._known: dict[int, np.ndarray] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._describer, name)

    def describe(self, images: list[np.ndarray]) -> np.ndarray:
        """Describe images that are kept alive elsewhere."""
        for image in images:
            if id(image) not in self._known:
                self._known[id(image)] = self._describer.describe([image])[0]
        return np.stack([self._known[id(image)] for image in images])


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    model = load_model(arguments.model, weights=arguments.weights)
    model = dataclasses.replace(model, describer=Remembering(model.describer))
    mapped = read(arguments.map, arguments.map_frames)
    asked = read(arguments.query, arguments.query_frames)
    truth = read_pairs(arguments.pairs) if arguments.pairs else {
        query: {query} for query in range(len(asked))}
    print(f'{arguments.model}: {len(mapped)} map images, {len(asked)} query images')
    for length in arguments.lengths:
        results = localize(model, mapped, asked, length)
        first = arguments.query_frames.start or 0 if arguments.pairs else 0
        print(describe(length, results, truth, arguments.tolerance, first))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--map', type=Path, required=True, help='image folder of the map')
    parser.add_argument('--query', type=Path, required=True, help='image folder of the queries')
    parser.add_argument('--map-frames', type=span, default=slice(None), help='e.g. 0:40')
    parser.add_argument('--query-frames', type=span, default=slice(None), help='e.g. 40:84')
    parser.add_argument('--pairs', type=Path, help='csv of query,match numbers from 1; queries '
                        'it does not list are left out; without it, frames align by number')
    parser.add_argument('--tolerance', type=int, default=2, help='frames')
    parser.add_argument('--model', default='hog')
    parser.add_argument('--weights', type=Path)
    parser.add_argument('--lengths', type=int, nargs='+', default=[5, 10, 20])
    return parser.parse_args()


def span(text: str) -> slice:
    """Read 'first:end'."""
    first, end = text.split(':')
    return slice(int(first), int(end))


def read(folder: Path, frames: slice) -> Images:
    """Decode a folder, or part of it."""
    return [(frame.read(), frame.stamp_ns) for frame in list(open_source(folder))[frames]]


def read_pairs(path: Path) -> dict[int, set[int]]:
    """Return query -> places as frame numbers from 0 of the two spans' common numbering."""
    truth: dict[int, set[int]] = {}
    with path.open(newline='') as file:
        for row in csv.reader(line for line in file if line[:1].isdigit()):
            truth.setdefault(int(row[0]) - 1, set()).add(int(row[1]) - 1)
    return truth


def localize(model: PlaceModel, mapped: Images, asked: Images, length: int) -> list[MatchResult]:
    """Map and localize with one sequence length; return the results with candidates."""
    sequence = model.config.sequence.model_copy(update={'length': length})
    settings: ModelConfig = model.config.model_copy(update={'sequence': sequence})
    mapper = Mapper(model, settings)
    for image, stamp_ns in mapped:
        mapper.push(image, stamp_ns)
    localizer = Localizer(model, mapper.finish(), settings)
    results = [localizer.push(image, stamp_ns) for image, stamp_ns in asked]
    return [result for result in results if result is not None and result.best is not None]


def describe(length: int, results: list[MatchResult], truth: dict[int, set[int]],
             tolerance: int, first_query: int) -> str:
    """Return one line of figures."""
    scored = [result for result in results if result.query + first_query in truth]
    errors = [
        np.array([min(abs(candidate.place_id - place)
                      for place in truth[result.query + first_query])
                  for candidate in result.candidates])
        for result in scored]
    score = score_results(errors, [result.accepted for result in scored], tolerance)
    return (f'L={length}: R@1 {score.recall_at_1:.3f}, R@5 {score.recall_at_5:.3f} of '
            f'{score.queries}; accepted {score.accepted}, right {score.precision:.3f}')


if __name__ == '__main__':
    main()
