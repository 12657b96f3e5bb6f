"""Started by test_data_parallel.py: runs of one experiment in groups of processes, forked from one that has imported.

python group.py FOLDER: see ``main`` for what lies there afterwards.
"""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # before processes are forked, for it takes seconds

from slipstick.errors import SlipstickError
from slipstick.train import Experiment, load_data, train

EXPERIMENT = {
    "name": "group",
    "arithmetic": "LNS(5,5) hamad2025",
    "update": "LNS(5,9) exact",
    "model": {"name": "cnn", "width": 0.25},
    "epochs": 2,
    "batch": 32,
    "micro_batches": 4,
    "subset": {"train": 96, "test": 40},
    "threads": 1,
    "log_every": 1,
}


class Deadly:
    """The data of a run whose process is killed before this step of the first epoch."""

    def __init__(self, data: Any, step: int) -> None:
        self._data, self._step = data, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def training_batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        for index, batch in enumerate(self._data.training_batches(seed, epoch, start)):
            if index == self._step:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def run_group(
    experiment: Experiment, data: Any, size: int, deadly: int | None = None, resume: bool = False
) -> list[int]:
    """Run in ``size`` processes, of which the last may die before a step; their wait statuses by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(size):
        if (child := os.fork()) == 0:
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), **address}
            os._exit(_member(experiment, data if deadly is None or rank < size - 1 else Deadly(data, deadly), resume))
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def _member(experiment: Experiment, data: Any, resume: bool) -> int:
    try:
        train(experiment, data, resume=resume, quiet=True)
        return 0
    except SlipstickError as error:
        os.write(1, f"rank {os.environ['RANK']}: {error}\n".encode())  # at once, so that lines do not mix
        return 2
    except BaseException:
        traceback.print_exc()
        return 3


def main(folder: Path) -> None:
    """FOLDER/1, 2, 4: runs by so many processes. FOLDER/lost: by two, one killed, then resumed by four."""
    torch.set_num_threads(1)
    data = load_data(Experiment(**EXPERIMENT))
    for size in (1, 2, 4):
        print(size, run_group(Experiment(**EXPERIMENT, out=str(folder / str(size))), data, size), flush=True)
    lost = Experiment(**EXPERIMENT, out=str(folder / "lost"))
    print("lost", run_group(lost, data, 2, deadly=2), flush=True)
    print("resumed", run_group(lost, data, 4, resume=True), flush=True)
    print("three", run_group(Experiment(**EXPERIMENT, out=str(folder / "three")), data, 3), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
