"""Scalars for TensorBoard, written at once and in this thread.

PyTorch's SummaryWriter keeps events in the memory of a thread of its own: a killed run loses them, and where the disk
is full the thread fails apart from the run.
"""

import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from slipstick.train.append_only import AppendOnlyFile
from slipstick.train.atomic_files import writing


class EventFile:
    """A new file of events in ``folder``, in TensorBoard's format."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """``purge_step``: TensorBoard is to forget what earlier files say of this step and later ones."""
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self._file = AppendOnlyFile(folder / name)
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)])))

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
