"""The service that localizes given images, separate from the camera."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import View
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.msg import PlaceMatch
from seqnet_ros.nodes.conversions import image_reader, stamp_to_ns
from seqnet_ros.nodes.error_log import describe_error
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.services import ServiceGroup
from seqnet_ros.srv import FindPlace

_IMAGES_IN_MEMORY = 4
"""Images of a request in memory, in units of the largest one allowed."""


class FindPlaceService:
    """Offers ``~/find_place``; the live sequence is not affected.

    Args:
        services: the node's services.
        pipeline: its worker owns the engine.
        engine: returns the engine, None while no map is loaded.
        to_message: makes a message of a result and the camera's frame.
        max_pixels: returns the limit of the size of an image.
    """

    def __init__(self, services: ServiceGroup, pipeline: ImagePipeline,
                 engine: Callable[[], Localizer | None],
                 max_pixels: Callable[[], int],
                 to_message: Callable[[MatchResult, str], PlaceMatch]) -> None:
        self._pipeline = pipeline
        self._engine = engine
        self._max_pixels = max_pixels
        self._to_message = to_message
        services.add(FindPlace, '~/find_place', self._on_find_place)

    async def _on_find_place(self, request: FindPlace.Request,
                             response: FindPlace.Response) -> FindPlace.Response:
        messages = [*request.images, *request.compressed_images]
        if bool(request.images) == bool(request.compressed_images):
            response.result = response.RESULT_NO_IMAGES
            response.message = (f'found {len(request.images)} raw and '
                                f'{len(request.compressed_images)} compressed images, expected '
                                'images in exactly one of the two lists')
            return response
        engine = self._engine()
        if engine is None:
            response.result = response.RESULT_NO_MAP
            response.message = 'no map is loaded'
            return response
        try:
            result = await self._pipeline.run(
                lambda: engine.find(_decode(messages, engine.model.config.cameras,
                                            self._max_pixels())))
        except InputError as error:
            response.result = response.RESULT_INVALID_IMAGE
            response.message = str(error)
        except Exception as error:
            response.result = response.RESULT_UNDEFINED_FAILURE
            response.message = describe_error(error)
        else:
            last = messages[-1].header
            result = replace(result, stamp_ns=stamp_to_ns(last.stamp),
                             sequence_start_ns=stamp_to_ns(messages[0].header.stamp))
            response.result = response.RESULT_SUCCESS
            response.match = self._to_message(result, last.frame_id)
            response.message = _describe(result)
        return response


def _decode(messages: Sequence[Any], cameras: int, max_pixels: int) -> list[View]:
    """Decode the images of a request; those of several cameras follow one another."""
    images: list[np.ndarray] = []
    left = _IMAGES_IN_MEMORY * max_pixels
    for message in messages:
        images.append(image_reader(message, max_pixels)())
        height, width = images[-1].shape[:2]
        left -= height * width
        if left < 0:
            raise InputError(f'image {len(images)} of {len(messages)} is too much: all images of '
                             f'a request may have {_IMAGES_IN_MEMORY * max_pixels / 1e6:g} '
                             'megapixels')
    if len(images) % cameras:
        raise InputError(f'found {len(images)} images, expected a multiple of {cameras}: one per '
                         'camera at every time')
    if cameras == 1:
        return list(images)
    return [tuple(images[first: first + cameras]) for first in range(0, len(images), cameras)]


def _describe(result: MatchResult) -> str:
    if result.best is None:
        return f'no place: {result.reason.name}'
    return f'place {result.best.place_id} of map {result.best.map_id}: {result.reason.name}'
