"""Images as tensors in memory, and the batches that a seed makes of them.

Nothing here runs in an arithmetic: compared runs see the same images in the same order, changed in the same way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from slipstick.errors import SpecificationError
from slipstick.train.config import Augment, Experiment
from slipstick.train.digits import load_digits
from slipstick.train.hub import load_hub
from slipstick.train.images import Images
from slipstick.train.sampling import epoch_generator, require_a_batch, subset


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Per-channel mean and standard deviation of the training images, in units of uint8."""

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, images: torch.Tensor) -> "Normalisation":
        """From uint8 images (N, C, H, W), through their histogram: exact, so the same on every machine."""
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(images.shape[1])])
        share = counts.double() / counts.sum(dim=1, keepdim=True)
        mean = (share * levels).sum(dim=1)
        variance = (share * (levels - mean[:, None]) ** 2).sum(dim=1)
        std = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
        return cls(mean.float()[:, None, None], std.float()[:, None, None])

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class ImageData:
    """Training and test images, uint8 (N, C, H, W), int64 labels, and what batches are made with."""

    train: Images
    test: Images
    classes: int
    augment: Augment
    normalisation: Normalisation
    batch: int

    @property
    def channels(self) -> int:
        return int(self.train.pixels.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        height, width = self.train.pixels.shape[2:]
        crop = self.augment.crop
        return (int(height), int(width)) if crop is None else (crop, crop)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input: channels, height, width."""
        return (self.channels, *self.size)

    @property
    def training_samples(self) -> int:
        return len(self.train)

    @property
    def test_samples(self) -> int:
        return len(self.test)

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def steps_per_epoch(self) -> int:
        """Full batches only, so that every step costs the same."""
        return len(self.train) // self.batch

    def training_batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Normalised images and labels of one epoch (counted from 0), from step ``start`` on.

        All choices are drawn from (seed, epoch) before the first batch, so a resumed epoch sees the same batches.
        """
        generator = epoch_generator(seed, epoch)
        order = torch.randperm(len(self.train), generator=generator)
        corners, flips = self._draw_changes(generator)
        for step in range(start, self.steps_per_epoch):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            pixels = random_crop(self.train.pixels[chosen], self.augment.pad, self.size, corners[chosen])
            pixels = torch.where(flips[chosen, None, None, None], pixels.flip(-1), pixels)
            yield self.normalisation(pixels), self.train.labels[chosen]

    def test_batches(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Normalised test images, the centre where training crops, and labels."""
        (height, width), (full_height, full_width) = self.size, self.test.pixels.shape[2:]
        top, left = (full_height - height) // 2, (full_width - width) // 2
        for start in range(0, len(self.test), batch):
            pixels = self.test.pixels[start : start + batch, :, top : top + height, left : left + width]
            yield self.normalisation(pixels), self.test.labels[start : start + batch]

    def _draw_changes(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        n, pad = len(self.train), self.augment.pad
        height, width = self.train.pixels.shape[2:]
        rooms = [full + 2 * pad - seen + 1 for full, seen in zip((height, width), self.size, strict=True)]
        corners = torch.stack([torch.randint(room, (n,), generator=generator) for room in rooms], dim=1)
        flips = torch.rand(n, generator=generator) < (0.5 if self.augment.flip else 0.0)
        return corners, flips


def random_crop(pixels: torch.Tensor, pad: int, size: tuple[int, int], corners: torch.Tensor) -> torch.Tensor:
    """Windows of ``size`` with their top left at ``corners`` (N, 2) of the images padded with black."""
    if pad == 0 and size == tuple(pixels.shape[2:]):
        return pixels
    padded = torch.nn.functional.pad(pixels, (pad, pad, pad, pad))
    rows = corners[:, 0, None] + torch.arange(size[0])
    columns = corners[:, 1, None] + torch.arange(size[1])
    sample = torch.arange(len(pixels))
    picked = padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()


def load_images(experiment: Experiment) -> ImageData:
    """The experiment's images. Raises SpecificationError where it cannot be had or does not fit."""
    if experiment.data == "digits":
        train, test, classes = load_digits()
    else:
        train, test, classes = load_hub(experiment.data, experiment.image_size)
    train = _subset(train, experiment.subset.train, "subset.train")
    test = _subset(test, experiment.subset.test, "subset.test")
    require_a_batch(experiment.batch, len(train), "images")
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        shapes = f"{tuple(train.pixels.shape[1:])} and {tuple(test.pixels.shape[1:])}"
        raise SpecificationError(f"data {experiment.data!r}: training and test images differ in shape: {shapes}")
    crop, height = experiment.augment.crop, min(train.pixels.shape[2:])
    if crop is not None and crop > height:
        raise SpecificationError(f"augment.crop = {crop}: larger than the images ({height} pixels)")
    normalisation = Normalisation.of(train.pixels)
    return ImageData(train, test, classes, experiment.augment, normalisation, experiment.batch)


def _subset(images: Images, count: int | None, key: str) -> Images:
    chosen = subset(len(images), count, key, "images")
    return images if chosen is None else Images(images.pixels[chosen], images.labels[chosen])
