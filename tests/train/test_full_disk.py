"""A disk that is full, a folder that may not be written, a damaged checkpoint: one line, and the run goes on after."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from test_folder_lock import another_process
from test_loop import StopAfter, experiment, final_bits

from slipstick.cli import main
from slipstick.errors import SpecificationError, StorageError
from slipstick.train import Data, Interrupted, append_only, load_data, run_folder, stored_tensors, train
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.folder_lock import lock_folder
from slipstick.train.metrics import Row, read_metrics

LNS12 = "LNS(5,5) hamad2025"


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place], capture_output=True, check=False
        )
    except OSError:
        pytest.skip("no mount")
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path, leave: int = 0) -> Path:
    """A file that leaves ``leave`` bytes."""
    file = place / "fill"
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while opened.write(bytes(4096)):
            pass
    os.truncate(file, max(0, file.stat().st_size - leave))
    return file


@pytest.mark.parametrize("leave", [0, 4096, 12288, 24576])
def test_a_disk_that_fills_up_stops_a_run_which_resumes_in_the_same_bits(
    tmp_path: Path, small_disk: Path, data: Data, leave: int
) -> None:
    fields = {"arithmetic": LNS12, "checkpoint_steps": 1, "log_every": 1, "epochs": 3}
    whole, broken = experiment(tmp_path / "whole", **fields), experiment(small_disk, **fields)
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(3))
    folder = run_folder(broken)
    before = newest_index(folder)["tensors_sha256"]
    filler = fill(small_disk, leave)
    with pytest.raises(StorageError) as error:
        train(broken, data, resume=True, quiet=True)
    assert str(error.value).startswith(str(folder))
    assert str(error.value).endswith(": the disk is full; free some space, then continue with --resume")
    assert "\n" not in str(error.value)
    if leave == 0:
        assert newest_index(folder)["tensors_sha256"] == before
    filler.unlink()
    train(broken, data, resume=True, quiet=True)
    assert final_bits(folder) == final_bits(run_folder(whole))


def test_a_file_system_that_became_read_only_is_one_line(small_disk: Path, data: Data) -> None:
    chosen = experiment(small_disk, epochs=1)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(1))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for again in (chosen, experiment(small_disk / "new")):
        with pytest.raises(StorageError) as error:
            train(again, data, resume=True, quiet=True)
        assert str(error.value).startswith(f"{small_disk}/")
        assert "cannot be written: Read-only file system; make the folder writable, or choose ano" in str(error.value)
        assert "\n" not in str(error.value)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert train(chosen, data, resume=True, quiet=True).status == "finished"


@pytest.mark.parametrize("where", ["tensors", "row"])
def test_a_write_that_the_disk_refuses_loses_nothing(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    whole, broken = (experiment(tmp_path / name, checkpoint_steps=1) for name in ("whole", "broken"))
    train(whole, data, quiet=True)
    save, write = stored_tensors.save_file, append_only.AppendOnlyFile.write
    calls = iter(range(1000))

    def save_a_part(tensors: dict, file: Path, metadata: dict) -> None:
        if next(calls) == 2:
            file.write_bytes(b"half")
            raise stored_tensors.SafetensorError("I/O error: No space left on device (os error 28)")
        save(tensors, file, metadata)

    def write_a_part(self: append_only.AppendOnlyFile, line: bytes) -> None:
        if next(calls) == 20:
            write(self, line[: len(line) // 2])
            raise StorageError(f"{self._path}: the disk is full; free some space, then continue with --resume")
        write(self, line)

    with monkeypatch.context() as patch:
        if where == "tensors":
            patch.setattr(stored_tensors, "save_file", save_a_part)
        else:
            patch.setattr(append_only.AppendOnlyFile, "write", write_a_part)
        with pytest.raises(StorageError, match=r"the disk is full; free some space, then continue with --resume$"):
            train(broken, data, quiet=True)
    train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))


def test_the_command_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trial.toml").write_text('subset = {train = 40, test = 20}\nbatch = 10\nepochs = 1\nmodel = {name = "mlp"}\n')

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        assert main(["train", "trial.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("slipstick: runs/trial/fp32/experiment.toml: the disk is full; free some space, ")
    assert said.count("\n") == 1
    assert main(["train", "trial.toml", "--resume"]) == 0


def test_a_second_run_in_the_same_folder_is_refused_and_harms_nothing(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, epochs=1)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(1))
    folder = run_folder(chosen)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
    locks = []

    def hold() -> None:
        locks.append(lock_folder(folder))
        locks[0].__enter__()

    with another_process(hold) as pid:
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(SpecificationError, match=f"is in use by process {pid} on "):
                train(chosen, data, quiet=True, **options)
        assert before == {name: (folder / name).read_bytes() for name in before}
    assert train(chosen, data, resume=True, quiet=True).status == "finished"


@pytest.mark.parametrize("harm", ["tensors", "index"])
def test_a_run_goes_on_from_before_a_damaged_checkpoint_to_the_same_end(
    tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    fields = {"arithmetic": LNS12, "checkpoint_steps": 2, "log_every": 1}
    whole, broken = (experiment(tmp_path / name, **fields) for name in ("whole", "broken"))
    train(whole, data, quiet=True, record_every=1)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(4), record_every=1)
    folder = run_folder(broken)
    newest = max(folder.glob("checkpoint-*.json"))
    damaged = newest if harm == "index" else newest.with_suffix(".safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    train(broken, data, resume=True, quiet=True, record_every=1)
    said = capsys.readouterr().err
    assert said.startswith(f"slipstick: {newest}: damaged (")
    assert said.count("\n") == 1
    assert final_bits(folder) == final_bits(run_folder(whole))
    texts = [(run_folder(run) / "distances.json").read_text() for run in (whole, broken)]
    assert texts[0] == texts[1]


def test_rows_that_are_lost_are_not_made_up(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, log_every=1)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(2))
    metrics = run_folder(chosen) / "metrics.csv"
    text = metrics.read_text()
    for harm in (lambda: metrics.write_text(text[:-1]), metrics.unlink):
        harm()
        with pytest.raises(
            SpecificationError, match=r"metrics\.csv: has lost rows since the checkpoint: \d+ bytes of "
        ):
            train(chosen, data, resume=True, quiet=True)


def test_checkpoints_are_taken_by_steps_and_the_best_is_kept(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, checkpoint_steps=1, checkpoint_keep=2, epochs=4)
    train(chosen, data, quiet=True)
    folder = run_folder(chosen)
    assert newest_index(folder)["tensors"] == f"checkpoint-{4 * (4 + 1):05d}.safetensors"
    epochs: list[Row] = [row for row in read_metrics(folder) if row.kind == "epoch"]
    accuracies = [row.test_accuracy for row in epochs]
    best = 5 * (accuracies.index(max(accuracies)) + 1)
    expected = {best, 19, 20}
    assert {int(file.stem[-5:]) for file in folder.glob("checkpoint-*.json")} == expected
    # neither of these changes the run, so both may be changed on the way
    again = experiment(tmp_path, checkpoint_steps=3, checkpoint_keep=5, epochs=4)
    assert train(again, data, resume=True, quiet=True).status == "finished"
