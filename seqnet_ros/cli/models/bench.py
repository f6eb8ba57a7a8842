"""``seqnet_ros models bench``: how fast the models are on this machine."""

from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_table, progress_bar


def bench(
    models: Annotated[list[str] | None, typer.Argument(
        help='Models: names from `seqnet_ros models list`, or YAML files.',
        show_default='all whose weights are here')] = None,
    seconds: Annotated[float, typer.Option(
        min=0.0, help='How long each is measured.')] = 2.0,
    device: options.Device = 'auto',
) -> None:
    """Measure how long an image of 640 x 480 pixels takes, and remember it for `models list`.

    The time includes resizing. A model that is named, but whose weights are missing, runs with
    random ones, which take as long.
    """
    from seqnet_ros.models.place_model import list_models
    from seqnet_ros.models.speed import measure_speed

    names = models or [model.name for model in list_models() if model.weights_available]
    rows: list[tuple[str, ...]] = []
    with progress_bar('measuring', len(names)) as show:
        for done, name in enumerate(names, 1):
            speed = measure_speed(name, device, seconds)
            rows.append((name, f'{speed.milliseconds:.1f}', speed.device, str(speed.threads)))
            show(done)
    print_table(('name', 'ms', 'device', 'threads'), rows)
