"""The processes of one run, started together by ``torchrun``: what they tell each other.

Tensors and files travel by gloo, which works between machines and needs no folder that all of them see. Nothing is
pickled. The kernels run on CPUs, so there is no other backend.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.errors import NonFiniteError, SlipstickError, SpecificationError
from slipstick.train.data import Batch

_LAUNCHED = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for every process."""

Files = Mapping[str, bytes]
"""By name."""


class LostWorkerError(SlipstickError):
    """Another process of the run has ended, or cannot be reached any more."""


@dataclass(frozen=True)
class Workers:
    """rank: of this process, from 0. size: how many there are; 1 without torchrun."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> "Workers":
        """The group that this process was started in. Raises SpecificationError where this PyTorch knows none."""
        if any(name not in os.environ for name in _LAUNCHED) or int(os.environ["WORLD_SIZE"]) == 1:
            return cls()
        from torch import distributed

        if not distributed.is_available():
            raise SpecificationError("torchrun: this PyTorch was built without torch.distributed; start one process")
        if not distributed.is_initialized():
            with _reaching("the others"):
                distributed.init_process_group("gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the run folder and talks to the user."""
        return self.rank == 0

    def gather(self, x: torch.Tensor) -> list[torch.Tensor]:
        """``x`` of every process as it is, by rank; the same shape and type in each. Raises LostWorkerError."""
        if self.size == 1:
            return [x]
        from torch import distributed

        with _disable_current_modes(), _reaching("another process"):
            every = [torch.empty_like(x) for _ in range(self.size)]
            distributed.all_gather(every, x.contiguous())
        return every

    def tell(self, files: Files | None) -> None:
        """From the leader to all others; None: there will be no run."""
        content = json.dumps(None if files is None else {name: len(data) for name, data in files.items()}).encode()
        self._send(content)
        for data in ({} if files is None else files).values():
            self._send(data)

    def hear(self) -> Files | None:
        """What the leader tells. Raises LostWorkerError."""
        sizes: dict[str, int] | None = json.loads(self._receive())
        return None if sizes is None else {name: self._receive() for name in sizes}

    def _send(self, data: bytes) -> None:
        self._broadcast(torch.tensor(len(data)))
        self._broadcast(torch.frombuffer(bytearray(data) or bytearray(1), dtype=torch.uint8))

    def _receive(self) -> bytes:
        size = self._broadcast(torch.tensor(0)).item()
        data = self._broadcast(torch.zeros(max(int(size), 1), dtype=torch.uint8))
        return data.numpy().tobytes()[: int(size)]

    def _broadcast(self, x: torch.Tensor) -> torch.Tensor:
        if self.size > 1:
            from torch import distributed

            with _reaching("process 0"):
                distributed.broadcast(x, 0)
        return x


ALONE = Workers()


class Shares:
    """Batches dealt out to the processes in turn, and sums over all of them in the order of the batches."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._rows: list[tuple[float, float, float]] = []
        self._failure: NonFiniteError | None = None

    def each(self, batches: Iterable[Batch], compute: Callable[[Batch], tuple[float, int, int]]) -> None:
        """Run ``compute`` on this process's batches: sums of the loss, of what was right, and the count."""
        for index, batch in enumerate(batches):
            mine = index % self._workers.size == self._workers.rank and self._failure is None
            row = (0.0, 0, 0)
            try:
                row = compute(batch) if mine else row
            except NonFiniteError as error:
                self._failure = error
            self._rows.append(row)

    def totals(self) -> tuple[float, int, int]:
        """The same in every process. Raises NonFiniteError in all where one of them met it, LostWorkerError."""
        rows = [*self._rows, (float(self._failure is not None), 0.0, 0.0)]
        every = self._workers.gather(torch.tensor(rows, dtype=torch.float64))
        *sums, (failed, _, _) = (
            torch.stack(every).sum(0).tolist()
        )  # one process has a batch's numbers, the others zeros
        if failed:
            raise self._failure or NonFiniteError("another process met a number without a code")
        return sum(row[0] for row in sums), int(sum(row[1] for row in sums)), int(sum(row[2] for row in sums))


@contextmanager
def _reaching(whom: str) -> Iterator[None]:
    """gloo and the store say RuntimeError for whatever happens to a connection."""
    try:
        yield
    except RuntimeError as error:
        raise LostWorkerError(f"{whom} has ended or cannot be reached ({_first_sentence(str(error))})") from None


def _first_sentence(said: str) -> str:
    """Of what gloo says, without its source files and the addresses, which it has in brackets."""
    plain = re.sub(r"\s*\[[^]]*\](:\d+)?:?\s*", " ", said).strip()
    return re.split(r"[.!\n](?:\s|$)", plain)[0].strip()
