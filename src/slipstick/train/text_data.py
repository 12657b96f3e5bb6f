"""Text as windows of characters: at every position the one that comes next is to be predicted."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slipstick.errors import SpecificationError
from slipstick.train.config import Experiment, Transformer
from slipstick.train.sampling import epoch_generator, require_a_batch, subset
from slipstick.train.text import read_text

_TEST_SHARE = 10  # one in
_RARE = 10  # occurrences below which a character is not told from the other rare ones
_MOST_CHARACTERS = 1024


@dataclass(frozen=True)
class Vocabulary:
    """Characters in ascending order; a code is a place among them, and one more stands for every other character."""

    characters: str

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The characters that occur at least ten times in ``text``."""
        counts = Counter(text)
        return cls("".join(sorted(character for character, count in counts.items() if count >= _RARE)))

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> torch.Tensor:
        """int64 codes (characters,)."""
        known, given = _code_points(self.characters), _code_points(text)
        codes = np.searchsorted(known, given)
        found = np.append(known, 0)[codes] == given
        return torch.from_numpy(np.where(found & (codes < len(known)), codes, len(known)))


@dataclass(frozen=True, eq=False)
class TextData:
    """The codes of the part to train with and of the part to test with, and how windows of them are taken.

    An epoch is ``training_samples`` windows at random places of the training part. Testing takes windows side by side,
    so that a character is predicted at most once, from up to ``context`` before it. starts: of the test windows.
    """

    train: torch.Tensor
    test: torch.Tensor
    classes: int
    context: int
    training_samples: int
    starts: torch.Tensor
    batch: int
    facts: dict[str, Any]

    @property
    def shape(self) -> tuple[int]:
        return (self.context,)

    @property
    def test_samples(self) -> int:
        return len(self.starts)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches only, so that every step costs the same."""
        return self.training_samples // self.batch

    def training_batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Codes (batch, context), and those one place later, of one epoch (counted from 0), from step ``start`` on."""
        places = len(self.train) - self.context
        starts = torch.randint(places, (self.training_samples,), generator=epoch_generator(seed, epoch))
        for step in range(start, self.steps_per_epoch):
            yield self._windows(self.train, starts[step * self.batch : (step + 1) * self.batch])

    def test_batches(self, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for starts in self.starts.split(batch):
            yield self._windows(self.test, starts)

    def _windows(self, codes: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        windows = codes[starts[:, None] + torch.arange(self.context + 1)]
        return windows[:, :-1], windows[:, 1:]


def load_text(experiment: Experiment) -> TextData:
    """The experiment's text: its last tenth is the test part, characters are those of the rest.

    subset.train: windows of an epoch, by default as many as the training part has room for side by side.
    subset.test: windows tested, by default all of the test part.
    Raises SpecificationError where the text cannot be had or does not fit.
    """
    assert isinstance(experiment.model, Transformer), "the experiment was validated"
    text, context = read_text(experiment.data), experiment.model.context
    boundary = len(text) - len(text) // _TEST_SHARE
    room, test_room = (max(0, length - 1) // context for length in (boundary, len(text) - boundary))
    if test_room == 0:
        raise SpecificationError(
            f"data {experiment.data!r}: {len(text)} characters, of which the last tenth is for testing; "
            f"model.context = {context} needs {_TEST_SHARE * (context + 1)} of them"
        )
    vocabulary = Vocabulary.of(text[:boundary])
    if len(vocabulary) > _MOST_CHARACTERS:
        raise SpecificationError(
            f"data {experiment.data!r}: {len(vocabulary)} different characters; at most {_MOST_CHARACTERS} are possible"
        )
    chosen = subset(test_room, experiment.subset.test, "subset.test", "test windows")
    windows = experiment.subset.train or room
    require_a_batch(experiment.batch, windows, "windows")
    return TextData(
        train=vocabulary.encode(text[:boundary]),
        test=vocabulary.encode(text[boundary:]),
        classes=len(vocabulary),
        context=context,
        training_samples=windows,
        starts=context * (torch.arange(test_room) if chosen is None else chosen),
        batch=experiment.batch,
        facts={"text_sha256": hashlib.sha256(text.encode()).hexdigest(), "text_characters": len(text)},
    )


def _code_points(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
