"""What a map stores of an image: its descriptor and, for places, local features and a picture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seqnet_ros.config.engine import GeometryConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.images import View, first_image
from seqnet_ros.descriptors.local_features import LocalFeatureExtractor, LocalFeatures
from seqnet_ros.maps.keyframe_features import make_thumbnail
from seqnet_ros.models.place_model import PlaceModel


@dataclass(frozen=True)
class Observation:
    """An image as a map takes it.

    Attributes:
        descriptor: ``[D]``, as the model's describer made it.
        features: returns its local features; None where the map has none.
        jpeg: returns its picture as a JPEG file; None where the map keeps none.
    """

    descriptor: np.ndarray
    features: Callable[[], LocalFeatures] | None = None
    jpeg: Callable[[], bytes] | None = None


class Observer:
    """Makes observations of images. Not thread-safe.

    Args:
        model: describes the images.
        geometry: settings of the local features; None to extract no features.
        keep_images: keep pictures.
        camera: the calibrated camera, where it is known; the first one of several.
    """

    def __init__(self, model: PlaceModel, geometry: GeometryConfig | None, keep_images: bool,
                 camera: CameraModel | None) -> None:
        self._model = model
        self._extractor = None if geometry is None else LocalFeatureExtractor(geometry)
        self._keep_images = keep_images
        self.camera = camera

    def observe(self, image: View) -> Observation:
        """Describe an image, RGB uint8 ``[H, W, 3]``; the rest is made when it is asked for.

        Raises:
            InputError: the image cannot be used, or is not one of the camera.
        """
        if self.camera is not None:
            first = first_image(image)
            self.camera.for_image(first.shape[1], first.shape[0])
        descriptor = self._model.describe(image)
        first, extractor = first_image(image), self._extractor
        return Observation(
            descriptor,
            None if extractor is None else lambda: extractor.extract(first),
            None if not self._keep_images else lambda: make_thumbnail(first))
