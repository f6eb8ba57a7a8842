"""Random changes of color and of the crop, for a whole batch of images at once.

Every image has parameters of its own, and the result is what torchvision's functions give image by
image. What is drawn depends on a generator alone, not on the device::

    changes = draw_changes(len(pixels), pixels.shape[-1], AugmentationConfig(), generator)
    images = augment(pixels, changes)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample

from seqnet_ros.config.settings import Settings

_LOG_RATIO = math.log(3 / 4), math.log(4 / 3)
_TRIES = 10
_GREY = 0.2989, 0.587, 0.114


class AugmentationConfig(Settings):
    """Ranges of the image augmentation; the defaults are from CosPlace and JIST."""

    brightness: float = Field(0.7, ge=0, le=1, description='Maximum change of brightness.')
    contrast: float = Field(0.7, ge=0, le=1, description='Maximum change of contrast.')
    saturation: float = Field(0.7, ge=0, le=1, description='Maximum change of saturation.')
    hue: float = Field(0.5, ge=0, le=0.5, description='Maximum rotation of the hue, as a share of '
                                                      'a full circle.')
    crop: float = Field(
        0.5, ge=0, lt=1, description='Maximum share of the area removed by a random crop.')


class Changes(NamedTuple):
    """Augmentation parameters of B images.

    Attributes:
        brightness: factor, float32 ``[B]``.
        contrast: factor, float32 ``[B]``.
        saturation: factor, float32 ``[B]``.
        hue: turn, float32 ``[B]``, share of a full circle.
        order: int64 ``[B, 4]``, in which order these four are done.
        crops: int64 ``[B, 4]``, top, left, height and width, pixels.
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor
    crops: Tensor

    def take(self, rows: Tensor) -> 'Changes':
        """Return the changes of some of the images."""
        return Changes(*(values[rows] for values in self))


def draw_changes(count: int, size: int, config: AugmentationConfig,
                 generator: np.random.Generator) -> Changes:
    """Draw the changes of square images.

    Args:
        count: number of images B.
        size: edge of the images, pixels.
        config: ranges of the changes.
        generator: source of all randomness.
    """
    def factors(most: float) -> Tensor:
        return torch.from_numpy(generator.uniform(1 - most, 1 + most, count).astype(np.float32))

    brightness, contrast, saturation = map(
        factors, (config.brightness, config.contrast, config.saturation))
    hue = torch.from_numpy(generator.uniform(-config.hue, config.hue, count).astype(np.float32))
    order = generator.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    return Changes(brightness, contrast, saturation, hue, torch.from_numpy(order),
                   torch.from_numpy(_draw_crops(count, size, 1 - config.crop, generator)))


def _draw_crops(count: int, size: int, least: float, generator: np.random.Generator) -> np.ndarray:
    """Return crops ``[B, 4]``; of ten tries the first that fits, else the whole image."""
    area = generator.uniform(least, 1, (count, _TRIES)) * size**2
    ratio = np.exp(generator.uniform(*_LOG_RATIO, (count, _TRIES)))
    sides = np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], axis=2).round().astype(int)
    fits = np.all(sides <= size, axis=2)
    first = np.take_along_axis(sides, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    chosen = np.where(np.any(fits, axis=1)[:, None], first, size).clip(min=1)
    corners = (generator.uniform(size=(count, 2)) * (size - chosen + 1)).astype(int)
    return np.concatenate([corners, chosen], axis=1)


def augment(images: Tensor, changes: Changes) -> Tensor:
    """Change the colors of square images and crop them, back to their size.

    Args:
        images: float ``[B, 3, S, S]``, 0 to 1, RGB.
        changes: for each of them, on any device.

    Returns:
        float ``[B, 3, S, S]``, 0 to 1.
    """
    colours: tuple[tuple[Callable[[Tensor, Tensor], Tensor], Tensor], ...] = (
        (adjust_brightness, changes.brightness), (adjust_contrast, changes.contrast),
        (adjust_saturation, changes.saturation), (adjust_hue, changes.hue))
    images = images.clone()
    for step in range(len(colours)):
        for number, (adjust, values) in enumerate(colours):
            rows = (changes.order[:, step] == number).nonzero()[:, 0]
            if len(rows):
                amounts = values[rows].to(images.device)[:, None, None, None]
                rows = rows.to(images.device)
                images[rows] = adjust(images[rows], amounts)
    return crop_and_resize(images, changes.crops.to(images.device))


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply images ``[B, 3, H, W]`` by a factor ``[B, 1, 1, 1]``."""
    return (images * factor).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Spread images ``[B, 3, H, W]`` around the mean of their gray, by a factor."""
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Spread images ``[B, 3, H, W]`` around their gray, by a factor ``[B, 1, 1, 1]``."""
    grey = _grey(images)
    return (grey + factor * (images - grey)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    weights = images.new_tensor(_GREY)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of images ``[B, 3, H, W]`` by a share of the circle ``[B, 1, 1, 1]``."""
    largest, which = images.max(dim=1, keepdim=True)
    chroma = largest - images.amin(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    # Sixths of the circle, counted from the largest of the three.
    sixths = torch.stack([green - blue, blue - red, red - green]).gather(0, which[None])[0]
    hue = sixths / chroma.clamp(min=1e-12) + 2 * which + 6 * turn
    position = (hue + images.new_tensor([5, 3, 1])[:, None, None]) % 6
    return largest - chroma * torch.minimum(position, 4 - position).clamp(0, 1)


def crop_and_resize(images: Tensor, crops: Tensor) -> Tensor:
    """Cut a rectangle out of each square image and enlarge it to the whole, bilinearly.

    Args:
        images: float ``[B, C, S, S]``.
        crops: int ``[B, 4]``, top, left, height and width, pixels.
    """
    size = images.shape[-1]
    middles = (torch.arange(size, device=images.device) + 0.5) / size
    rows, columns = (
        _sampled(middles, crops[:, side], crops[:, 2 + side], size).to(images.dtype)
        for side in range(2))
    grid = torch.stack([columns[:, None].expand(-1, size, -1),
                        rows[:, :, None].expand(-1, -1, size)], dim=3)
    return grid_sample(images, grid, align_corners=True)


def _sampled(middles: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return where to sample ``[B, S]``, -1 at the first pixel and 1 at the last."""
    inside = (middles * length[:, None] - 0.5).clamp(min=0)
    pixels = start[:, None] + torch.minimum(inside, (length - 1)[:, None].float())
    return pixels * (2 / (size - 1)) - 1
