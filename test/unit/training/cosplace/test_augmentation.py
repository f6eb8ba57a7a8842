"""Augmentation of whole batches: what torchvision gives image by image with the same parameters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional as vision

from seqnet_ros.training.cosplace.augmentation import (
    AugmentationConfig,
    Changes,
    adjust_hue,
    augment,
    crop_and_resize,
    draw_changes,
)

FUNCTIONS = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation,
             vision.adjust_hue)


def one_by_one(images: torch.Tensor, changes: Changes) -> torch.Tensor:
    done = []
    for row, image in enumerate(images):
        for number in changes.order[row].tolist():
            image = FUNCTIONS[number](image, float(changes[number][row]))
        top, left, height, width = changes.crops[row].tolist()
        done.append(vision.resized_crop(image, top, left, height, width, list(image.shape[1:]),
                                        antialias=True))
    return torch.stack(done)


def photos(count: int, size: int, seed: int) -> torch.Tensor:
    """Smooth colours with some black, white, grey and fully coloured parts."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.uniform(-0.3, 1.3, (count, 3, 5, 5)))
    images = torch.nn.functional.interpolate(coarse, (size, size), mode='bicubic').clamp(0, 1)
    images[:, :, : size // 4] = images[:, :1, : size // 4]
    return images.float()


@given(seed=st.integers(0, 1000), size=st.integers(8, 48), count=st.integers(1, 9),
       amount=st.floats(0, 1))
@settings(max_examples=40)
def test_a_batch_is_changed_as_torchvision_changes_each_image(seed, size, count, amount):
    config = AugmentationConfig(brightness=amount, contrast=amount, saturation=amount,
                                hue=amount / 2, crop=amount * 0.9)
    changes = draw_changes(count, size, config, np.random.default_rng(seed))
    images = photos(count, size, seed)
    before = images.clone()
    made = augment(images, changes)
    assert torch.equal(images, before)
    assert made.shape == images.shape
    torch.testing.assert_close(made, one_by_one(images, changes), atol=3e-5, rtol=0)


@pytest.mark.parametrize('colour', [(1, 0, 0), (1, 1, 0), (0, 0, 0), (1, 1, 1), (.3, .3, .3),
                                    (.2, .7, .7), (.7, .2, .7), (.1, .5, .9)])
def test_hues_at_their_corners(colour):
    image = torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(3, 2, 2)
    for turn in (-0.5, -1 / 3, 0, 0.1, 1 / 6, 0.5):
        made = adjust_hue(image[None], torch.full((1, 1, 1, 1), turn))[0]
        torch.testing.assert_close(made, vision.adjust_hue(image, turn), atol=1e-6, rtol=0)


def test_no_change_leaves_images_as_they_are():
    config = AugmentationConfig(brightness=0, contrast=0, saturation=0, hue=0, crop=0)
    images = photos(4, 32, 0)
    changes = draw_changes(4, 32, config, np.random.default_rng(0))
    changes = changes._replace(crops=torch.tensor([[0, 0, 32, 32]]).repeat(4, 1))
    torch.testing.assert_close(augment(images, changes), images, atol=1e-5, rtol=0)


def test_a_crop_shows_only_what_lies_in_it():
    images = torch.zeros(1, 1, 16, 16)
    images[0, 0, 4:8, 5:11] = 1
    made = crop_and_resize(images, torch.tensor([[4, 5, 4, 6]]))
    torch.testing.assert_close(made, torch.ones_like(made))


class TestDrawing:
    def test_the_ranges_are_used_and_kept(self):
        changes = draw_changes(4000, 512, AugmentationConfig(), np.random.default_rng(1))
        for values in (changes.brightness, changes.contrast, changes.saturation):
            assert 0.3 <= values.min() < 0.31
            assert 1.69 < values.max() <= 1.7
        assert -0.5 <= changes.hue.min() < -0.49 < 0.49 < changes.hue.max() <= 0.5
        assert len(changes.order.unique(dim=0)) == 24
        top, left, height, width = changes.crops.double().T
        assert (top.min(), left.min()) == (0, 0)
        assert (top + height).max() == (left + width).max() == 512
        share = height * width / 512**2
        assert 0.499 < share.min() < 0.51
        assert 0.99 < share.max() <= 1
        ratio = width / height
        assert 0.745 < ratio.min() < 0.76
        assert 1.32 < ratio.max() < 1.34

    def test_the_generator_decides_everything(self):
        first, again, other = (draw_changes(8, 64, AugmentationConfig(),
                                            np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert all(map(torch.equal, first, again))
        assert not any(map(torch.equal, first, other))

    def test_some_of_a_batch_are_changed_as_they_would_be_among_all(self):
        images = photos(6, 24, 5)
        changes = draw_changes(6, 24, AugmentationConfig(), np.random.default_rng(5))
        rows = torch.tensor([4, 1])
        assert torch.equal(augment(images[rows], changes.take(rows)),
                           augment(images, changes)[rows])
