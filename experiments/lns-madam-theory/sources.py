"""Weights and gradients to take steps with: drawn ones, and those of a network that learns to read digits."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from slipstick.train.config import SmallCNN
from slipstick.train.digits import load_digits
from slipstick.train.models import build_small_cnn

HISTORY = 32  # gradients, the last of which makes the step
SCALE = 2.0**-13  # of synthetic weights: the range is 2^-13 to 2^3
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Source:
    """A weight tensor, its last gradients, and the scale of its update format: a power of two. All in float64."""

    weight: torch.Tensor
    gradients: list[torch.Tensor]
    scale: float


def synthetic(exponent: int, count: int, seed: int) -> Source:
    """log2|w| uniform within half an octave of ``exponent``; normal gradients, the same ones for every exponent."""
    generator = torch.Generator().manual_seed(seed)
    logarithm = torch.rand(count, generator=generator, dtype=torch.float64) - 0.5 + exponent
    sign = torch.randint(2, (count,), generator=generator) * 2 - 1
    gradients = [torch.randn(count, generator=generator, dtype=torch.float64) for _ in range(HISTORY)]
    return Source(sign * logarithm.exp2(), gradients, SCALE)


def digits(seed: int, steps: int, advance: Callable[[int], None]) -> tuple[list[Source], float]:
    """Of each convolution and linear layer of the small CNN before its last step, and its accuracy in training then.

    steps: at least HISTORY; 21 are an epoch. advance: told of every step. The accuracy is that of the last 21 batches.
    """
    torch.manual_seed(seed)
    images, _, classes = load_digits()
    pixels, labels = images.pixels.float() / 8 - 1, images.labels
    model = build_small_cnn(SmallCNN(), 1, (8, 8), classes)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    history: deque[list[torch.Tensor]] = deque(maxlen=HISTORY)
    correct: deque[float] = deque(maxlen=21)
    for _ in range(steps):
        batch = torch.randint(len(labels), (_BATCH,))
        before = [weight.detach().double() for weight in weights]
        outputs = model(pixels[batch])
        optimizer.zero_grad()
        F.cross_entropy(outputs, labels[batch]).backward()
        history.append([weight.grad.double() for weight in weights])
        optimizer.step()
        correct.append(float((outputs.argmax(1) == labels[batch]).double().mean()))
        advance(1)
    tensors = zip(before, zip(*history, strict=True), strict=True)
    sources = [Source(weight, list(gradients), _scale(weight)) for weight, gradients in tensors]
    return sources, sum(correct) / len(correct)


def _scale(weight: torch.Tensor) -> float:
    """A range of 16 octaves that ends between one and two octaves above the largest weight."""
    exponent = int(torch.frexp(weight.abs().max()).exponent)
    return 2.0 ** (exponent + 1 - 16)
