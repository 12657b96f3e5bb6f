"""A training batch in equal parts, whose gradients are added in the arithmetic in an order of their own.

The batch is cut into ``count`` micro-batches, a power of two. Each gives the gradient of its mean loss. Those are added
in a balanced binary tree by index, ((0 + 1) + (2 + 3)) + ..., and multiplied by 1 / count, in the arithmetic of the
backward pass. Processes take neighbouring micro-batches, as many each, so every process holds one whole branch of the
tree: 1, 2 or 4 of them give the same codes. Each micro-batch sees the buffers (running statistics) as they were before
the step, and they become the mean over all of theirs, by the same tree in the arithmetic of the update. What it draws
at random depends on the seed, the step and its index alone.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

import slipstick as ss
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.train.workers import LostWorkerError, Workers


@dataclass(frozen=True)
class Forward:
    """What a forward pass gives: the mean loss, logits (N, classes) and labels (N)."""

    loss: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor

    def read(self) -> tuple[float, int]:
        """The loss, and how many labels have the largest logit; by the host, outside of any arithmetic."""
        with _disable_current_modes():
            return self.loss.item(), int((self.logits.argmax(dim=1) == self.labels).sum())


@dataclass(frozen=True)
class Outcome:
    """Of a batch: its mean loss, how many labels were right, and a signal that any process was sent, or None."""

    loss: float
    correct: int
    signal: int | None


Compute = Callable[[torch.Tensor, torch.Tensor], Forward]
"""The network on inputs, with the loss against targets."""


class PairwiseSum:
    """The balanced binary tree over what is added, from left to right, in whatever arithmetic is in force."""

    def __init__(self) -> None:
        self._branches: list[tuple[int, torch.Tensor]] = []

    def add(self, x: torch.Tensor) -> None:
        leaves = 1
        while self._branches and self._branches[-1][0] == leaves:
            x = self._branches.pop()[1] + x
            leaves *= 2
        self._branches.append((leaves, x))

    @property
    def total(self) -> torch.Tensor:
        """Of a power of two of terms."""
        ((_, total),) = self._branches
        return total


class MicroBatches:
    """Computes the gradients of one network's parameters, with the other processes of the run."""

    def __init__(self, model: nn.Module, count: int, workers: Workers, seed: int, loss_scale: float) -> None:
        """Raises SpecificationError where the processes cannot share the micro-batches evenly."""
        shares = [2**n for n in range(count.bit_length())]
        if workers.size not in shares:
            raise SpecificationError(
                f"{workers.size} processes: micro_batches = {count} can be shared by {', '.join(map(str, shares))}; "
                "set micro_batches to a power of two that is a multiple of the processes, or start others"
            )
        self._model, self._count, self._workers, self._seed = model, count, workers, seed
        self._factor = 1 / (count * loss_scale)
        self._loss_scale = loss_scale

    def backward(
        self, inputs: torch.Tensor, targets: torch.Tensor, step: int, compute: Compute, signal: int | None = None
    ) -> Outcome:
        """Give every parameter its gradient, and every buffer its new value, for the batch of this step.

        signal: that this process was sent. Raises NonFiniteError in all processes where it is raised in one,
        LostWorkerError with the buffers as they were.
        """
        before = [buffer.clone() for buffer in self._model.buffers()]
        try:
            return self._backward(inputs, targets, step, compute, signal, before)
        except LostWorkerError:
            self._restore(before)
            raise

    def _backward(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        step: int,
        compute: Compute,
        signal: int | None,
        before: list[torch.Tensor],
    ) -> Outcome:
        share = self._count // self._workers.size
        told: list[tuple[float, float]] = []
        gradients, buffers = PairwiseSum(), PairwiseSum()
        parts = list(zip(inputs.chunk(self._count), targets.chunk(self._count), strict=True))
        failure: NonFiniteError | None = None
        try:
            for index in range(self._workers.rank * share, (self._workers.rank + 1) * share):
                self._restore(before)
                torch.manual_seed(_seed_of(self._seed, step, index))
                told.append(self._one(*parts[index], compute))
                gradients.add(_flat(self._gradients()))
                with ss.update_phase():
                    buffers.add(_flat(self._floating_buffers()))
        except NonFiniteError as error:
            failure = error
        torch.manual_seed(_seed_of(self._seed, step, self._count))
        outcome = self._exchange(told, share, failure, signal)
        self._write(self._gradients(), self._mean(gradients, self._factor))
        with ss.update_phase():
            self._write(self._floating_buffers(), self._mean(buffers, 1 / self._count))
        return outcome

    def _one(self, inputs: torch.Tensor, targets: torch.Tensor, compute: Compute) -> tuple[float, float]:
        """Forward and backward."""
        for parameter in self._model.parameters():
            parameter.grad = None
        forward = compute(inputs, targets)
        (forward.loss * self._loss_scale if self._loss_scale != 1 else forward.loss).backward()
        return forward.read()

    def _exchange(
        self, told: list[tuple[float, float]], share: int, failure: NonFiniteError | None, signal: int | None
    ) -> Outcome:
        """What the processes tell of their micro-batches, and whether one has failed."""
        with _disable_current_modes():
            rows = [*told, *[(0.0, 0.0)] * (share - len(told)), (float(failure is not None), float(signal or 0))]
            everyone = [x.tolist() for x in self._workers.gather(torch.tensor(rows, dtype=torch.float64))]
        if failure is not None:
            raise failure
        for rank, rows in enumerate(everyone):
            if rows[share][0]:
                raise NonFiniteError(f"process {rank} met a number without a code")
        losses = [loss for rows in everyone for loss, _ in rows[:share]]
        correct = sum(int(count) for rows in everyone for _, count in rows[:share])
        sent = max(int(rows[share][1]) for rows in everyone)
        return Outcome(sum(losses) / len(losses), correct, sent or None)

    def _mean(self, branch: PairwiseSum, factor: float) -> torch.Tensor:
        """Of this process's branch and those of the others."""
        whole = PairwiseSum()
        for part in self._workers.gather(branch.total):
            whole.add(part)
        return whole.total * factor

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self._model.parameters() if parameter.grad is not None]

    def _floating_buffers(self) -> list[torch.Tensor]:
        return [buffer for buffer in self._model.buffers() if buffer.is_floating_point()]

    def _restore(self, before: list[torch.Tensor]) -> None:
        with torch.no_grad(), _disable_current_modes():
            for buffer, old in zip(self._model.buffers(), before, strict=True):
                buffer.copy_(old)

    def _write(self, tensors: list[torch.Tensor], flat: torch.Tensor) -> None:
        parts = flat.split([tensor.numel() for tensor in tensors])
        with torch.no_grad(), _disable_current_modes():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """One after another, copied."""
    with torch.no_grad(), _disable_current_modes():
        return torch.cat([tensor.flatten() for tensor in tensors]) if tensors else torch.zeros(0)


def _seed_of(*numbers: int) -> int:
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
