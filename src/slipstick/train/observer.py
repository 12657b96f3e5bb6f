"""What may watch a run from outside: anything of this shape, which the loop tells of every step."""

from collections.abc import Mapping
from typing import Protocol

import torch


class Observer(Protocol):
    """Changes nothing of the run. What it has seen is part of every checkpoint, so that a resumed run sees on."""

    def after_backward(self) -> None:
        """A training step is over; parameters still have its gradients."""

    def state_dict(self) -> dict[str, torch.Tensor]: ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None: ...
