"""Which samples a run sees: drawn from its seed and the epoch, or the same for all runs."""

import torch

from slipstick.errors import SpecificationError

_SUBSET_SEED = 0


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """For every choice of one epoch (counted from 0)."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def subset(available: int, count: int | None, key: str, what: str) -> torch.Tensor | None:
    """Indices of the first ``count`` of a fixed shuffle that no seed changes; None where all are wanted.

    Raises SpecificationError where there are fewer; ``key`` and ``what`` say of what.
    """
    if count is None:
        return None
    if count > available:
        raise SpecificationError(f"{key} = {count}: the data has {available} {what}")
    return torch.randperm(available, generator=torch.Generator().manual_seed(_SUBSET_SEED))[:count]


def require_a_batch(batch: int, samples: int, what: str) -> None:
    if samples < batch:
        raise SpecificationError(f"batch = {batch}: larger than the {samples} training {what}")
