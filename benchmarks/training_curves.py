"""Draw how a training went: ``python -m benchmarks.training_curves --help``."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main() -> None:
    """Read runs and write an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', type=Path, nargs='+', help='folders of runs')
    parser.add_argument('--output', type=Path, required=True, help='image to write')
    arguments = parser.parse_args()
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout='constrained')
    for run in arguments.runs:
        events = EventAccumulator(str(run)).Reload()
        for panel, tag in zip(panels, ('Train/Sequence loss', 'Train/Image loss',
                                       'Val/Sequence Recall@1'), strict=True):
            draw(panel, events, tag, run.name)
    panels[-1].set_ylim(0, 1)
    panels[-1].legend()
    figure.savefig(arguments.output, dpi=100)


def draw(panel: Axes, events: EventAccumulator, tag: str, run: str) -> None:
    """Draw what was logged under one name."""
    points = events.Scalars(tag)
    panel.plot([point.step for point in points], [point.value for point in points], 'o-',
               markersize=3, label=run)
    panel.set(title=tag.partition('/')[2], xlabel='step')
    panel.grid(alpha=0.3)


if __name__ == '__main__':
    main()
