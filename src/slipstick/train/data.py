"""What training and evaluation need of data, whatever it is made of."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from slipstick.train.config import Experiment
from slipstick.train.image_data import load_images
from slipstick.train.text_data import load_text

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs (N, ...) and the classes to be predicted from them: int64, (N) or (N, positions)."""


class Data(Protocol):
    """Samples to train and to test with. Batches depend on nothing but this and the arguments."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input: (channels, height, width) of an image, (context,) of text."""

    @property
    def classes(self) -> int: ...

    @property
    def training_samples(self) -> int:
        """Samples of one epoch: images, or windows of a text."""

    @property
    def test_samples(self) -> int: ...

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def facts(self) -> dict[str, Any]:
        """What of the data the experiment does not determine; a run may not go on where it is different."""

    def training_batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Of one epoch (counted from 0), from step ``start`` on; the same whether or not earlier ones were taken."""

    def test_batches(self, batch: int) -> Iterator[Batch]: ...


def load_data(experiment: Experiment) -> Data:
    """The experiment's data. Raises SpecificationError where it cannot be had or does not fit."""
    return load_text(experiment) if experiment.reads_text else load_images(experiment)
