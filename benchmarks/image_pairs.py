"""Two image folders of one route, described, for the measurements that compare methods."""

import argparse
from pathlib import Path

import numpy as np

from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.models.place_model import load_model

_BATCH = 16


def pair_arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the two folders and of the model that describes them."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('reference', type=Path, help='image folder of the reference drive')
    parser.add_argument('query', type=Path, help='image folder of the query drive')
    parser.add_argument('--model', default='hog')
    parser.add_argument('--weights', type=Path)
    return parser


def describe_both(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Return the descriptors ``[N, D]`` of reference and query."""
    model = load_model(arguments.model, weights=arguments.weights)
    described = []
    for folder in (arguments.reference, arguments.query):
        images = list(open_source(folder))
        described.append(np.concatenate([
            model.describer.describe([frame.read() for frame in images[start: start + _BATCH]])
            for start in range(0, len(images), _BATCH)]))
    return described
