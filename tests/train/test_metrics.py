"""metrics.csv and TensorBoard's events: every row is with the system at once, and cut back where a run goes on."""

import errno
import os
import struct
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slipstick.errors import StorageError
from slipstick.train import append_only, atomic_files
from slipstick.train.append_only import AppendOnlyFile
from slipstick.train.atomic_files import remove_partial_files, write_text
from slipstick.train.metrics import MetricsLog, Row, read_metrics


def row(step: int, loss: float = 0.5) -> Row:
    return Row("step", 1, step, 0.1, loss, 0.25, None, None, 0.01, float(step))


def board(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("step/train_loss")]


def test_rows_are_in_both_files_before_anything_is_closed(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for step in (1, 2):
            log.append(row(step))
        assert read_metrics(tmp_path) == [row(1), row(2)]
        assert board(tmp_path) == [(1, 0.5), (2, 0.5)]


def test_both_files_are_cut_back_to_where_a_run_goes_on(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.append(row(1))
        length = log.sync()
        assert length == (tmp_path / "metrics.csv").stat().st_size
        log.append(row(2))
        log.append(row(3))
    first = next((tmp_path / "tensorboard").iterdir())
    first.rename(first.with_name(first.name.replace("tfevents.", "tfevents.0")))  # an earlier second
    with MetricsLog(tmp_path, length, step=1) as log:
        log.append(row(2, loss=0.125))
    assert read_metrics(tmp_path) == [row(1), row(2, loss=0.125)]
    assert board(tmp_path) == [(1, 0.5), (2, 0.125)]


def test_an_event_cut_short_by_a_kill_hides_nothing_of_the_next_start(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.append(row(1))
        length = log.sync()
    first = next((tmp_path / "tensorboard").iterdir())
    first.write_bytes(first.read_bytes() + struct.pack("<Q", 99))
    first.rename(first.with_name(first.name.replace("tfevents.", "tfevents.0")))
    with MetricsLog(tmp_path, length, step=1) as log:
        log.append(row(2))
    assert board(tmp_path) == [(1, 0.5), (2, 0.5)]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full; free some space, then continue with --resume"),
        (errno.EDQUOT, "the disk is full; free some space, then continue with --resume"),
        (errno.EROFS, "cannot be written: Read-only file system; make the folder writable, or choose another --out"),
        (errno.EIO, "cannot be written: Input/output error"),
    ],
)
def test_what_the_disk_refuses_is_one_line_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    write_text(tmp_path / "kept", "before")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic_files.os, "fsync", refuse)
    file = AppendOnlyFile(tmp_path / "rows")
    for name, attempt in (("kept", lambda: write_text(tmp_path / "kept", "after")), ("rows", file.sync)):
        with pytest.raises(StorageError) as error:
            attempt()
        assert str(error.value).startswith(f"{tmp_path / name}: {message}")
        assert "\n" not in str(error.value)
        assert (error.value.errno, error.value.strerror) == (number, os.strerror(number))
    assert (tmp_path / "kept").read_text() == "before"
    assert not list(tmp_path.glob(".*"))


def test_a_file_is_written_to_its_last_byte_where_the_system_takes_less_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = append_only.AppendOnlyFile(tmp_path / "rows")
    raw = file._file

    class Slow:
        def write(self, data: bytes) -> int:
            return raw.write(data[:3])

    monkeypatch.setattr(file, "_file", Slow())
    file.write(b"0123456789")
    assert (tmp_path / "rows").read_bytes() == b"0123456789"


def test_what_a_killed_process_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".checkpoint-00001.json.77.part", "kept.part", ".hidden"):
        (tmp_path / name).write_text("")
    remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"kept.part", ".hidden"}
