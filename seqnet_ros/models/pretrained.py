"""Trained weights of a model: where they come from, what they expect, and who made them."""

from dataclasses import dataclass

from seqnet_ros.config.preset import Preset


@dataclass(frozen=True)
class Pretrained:
    """Trained weights of the frame descriptor of a model.

    Attributes:
        source: file, relative to the model file or after the package that contains it, or download
            address; None for random weights.
        sha256: hash of the file, where it is given.
        layout: naming of the tensors in the file.
        input_size: height and width of images, pixels.
        mean: channel means (RGB, range 0 to 1).
        std: channel deviations (RGB, range 0 to 1).
        license: license of the weights, where it is known.
        paper: the paper that describes the model, where there is one.
    """

    source: str | None
    sha256: str | None
    layout: str
    input_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    license: str | None
    paper: str | None

    @classmethod
    def of(cls, preset: Preset) -> 'Pretrained | None':
        """Return the weights that a model file names; None if its frames need no weights."""
        model = preset.model
        if not model.frame.takes_weights:
            return None
        weights, image = model.weights, model.image
        source = weights.path or weights.url
        if weights.package is not None:
            source = f'{weights.package}: {weights.path}'
        return cls(source, weights.sha256, weights.layout,
                   (image.height, image.width), image.mean, image.std, preset.license,
                   preset.paper)
