"""One process that has imported everything forks runs, kills them at random moments and resumes them. See test_kill.

Usage: python kill_server.py EXPERIMENT.json KILLS SEED. Prints a line of JSON for each run and for each kill.

It forks before it has trained anything, so that no thread of PyTorch is lost; it only has evaluated a network once, for
the tables of the arithmetic. Each child starts as a new process would: it has its state from the run folder only. Every
second kill is aimed at a checkpoint: it waits until the child is writing a file of one, and a random part of a
millisecond more.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

from slipstick.train import Data, Experiment, event_file, run_folder, train
from slipstick.train.image_data import ImageData, Normalisation
from slipstick.train.images import Images
from slipstick.train.loop import Run

LONGEST_DELAY = 0.6
LONGEST_WAIT = 60.0
"""Seconds. A child that takes longer to come to its next checkpoint hangs."""


def main(text: str, kills: int, seed: int) -> None:
    assert event_file  # imported here rather than in every child
    torch.set_num_threads(1)
    draw = random.Random(seed)
    experiment = Experiment.model_validate_json(text)
    data = random_images(experiment)
    Run(experiment, data).evaluate()
    whole = experiment.model_copy(update={"out": f"{experiment.out}/whole"})
    assert end_of(start(whole, data)) == 0, "the uninterrupted run failed"
    run = done = 0
    while done < kills:
        broken = experiment.model_copy(update={"out": f"{experiment.out}/broken-{run}"})
        done += kill_until_it_ends(broken, data, draw, kills - done)
        print(json.dumps({"run": str(run_folder(broken)), "whole": str(run_folder(whole))}), flush=True)
        run += 1


def kill_until_it_ends(experiment: Experiment, data: Data, draw: random.Random, kills: int) -> int:
    """Returns the number of kills, ``kills`` at most; the last start is left alone."""
    folder = run_folder(experiment)
    for number in range(kills):
        before = newest_tensors(folder)
        pid, aimed, delay = start(experiment, data), bool(draw.getrandbits(1)), draw.uniform(0, LONGEST_DELAY)
        status = wait(pid, time.monotonic() + delay)
        if status is None and aimed:
            status = wait(pid, time.monotonic() + LONGEST_WAIT, folder)
            delay += (pause := draw.expovariate(1 / 0.0003))
            time.sleep(pause)
        if status is None:
            os.kill(pid, signal.SIGKILL)
            status = end_of(pid)
        if status == 0:
            return number
        assert status == -signal.SIGKILL, f"kill {number}: the child ended with {status}"
        print(json.dumps({"kill": number, "delay": delay, "aimed": aimed, **evidence(folder, pid, before)}), flush=True)
    assert end_of(start(experiment, data)) == 0, "the last start failed"
    return kills


def random_images(experiment: Experiment) -> Data:
    """Learned by heart, if at all; reading real ones takes longer than training does here."""
    generator = torch.Generator().manual_seed(experiment.seed)
    pixels = torch.randint(256, (100, 1, 8, 8), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(len(pixels)) % 10)
    return ImageData(images, images, 10, experiment.augment, Normalisation.of(pixels), experiment.batch)


def start(experiment: Experiment, data: Data) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        torch.manual_seed(random.SystemRandom().getrandbits(32))  # nothing may depend on the process
        train(experiment, data, resume=True, quiet=True)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(pid: int, until: float, folder: Path | None = None) -> int | None:
    """The exit status if the child ends before ``until`` or, given a folder, before part of a file lies there."""
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if folder is not None and any(folder.glob(f".checkpoint-*.{pid}.part")):
            return None
        time.sleep(0.0001 if folder is not None else 0.001)
    assert folder is None, f"process {pid} writes no checkpoint"
    return None


def end_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def evidence(folder: Path, pid: int, before: str | None) -> dict[str, object]:
    """Where the kill fell: part of a file of a checkpoint was there, or of another, or tensors without a JSON file."""
    parts = [file.name for file in folder.glob(f".*.{pid}.part")]
    newest = newest_tensors(folder)
    return {
        "checkpoint part": [name for name in parts if name.startswith(".checkpoint-")],
        "other part": [name for name in parts if not name.startswith(".checkpoint-")],
        "tensors alone": newest not in (None, before) and not (folder / str(newest)).with_suffix(".json").is_file(),
        "newest": newest,
    }


def newest_tensors(folder: Path) -> str | None:
    return max((file.name for file in folder.glob("checkpoint-*.safetensors")), default=None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
