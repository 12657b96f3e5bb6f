"""A study in a PostgreSQL server that is started for it: workers that share nothing but the database."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipstick.sweep import TrialRecord, load_study, open_study, read_trials
from sweep.studies import start_worker, write_study
from sweep.test_workers import wait_for

pytestmark = pytest.mark.long
psycopg = pytest.importorskip("psycopg")


def _unprivileged() -> dict[str, Any]:
    """How a process is started that is not root's, as PostgreSQL wants it."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a database of a new server."""
    missing = [name for name in ("initdb", "postgres") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"PostgreSQL's {missing[0]} is not on the PATH")
    options = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="slipstick-postgres-", dir="/tmp"))  # a short path that its user may enter
    if options:
        os.chown(folder, options["user"], options["group"])
    initialise = ["initdb", "-D", str(folder / "data"), "-U", "slipstick", "-A", "trust", "--no-sync"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = ["postgres", "-D", str(folder / "data"), "-k", str(folder), "-h", "127.0.0.1", "-p", str(port)]
    try:
        subprocess.run(initialise, check=True, capture_output=True, cwd=folder, **options)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder, **options)
        try:
            _wait_for(port)
            yield f"postgresql+psycopg://slipstick@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=slipstick dbname=postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_two_workers_share_a_study_and_one_that_is_killed_loses_none(tmp_path: Path, server: str) -> None:
    trials = 8
    top = f'trials = {trials}\nsampler = "random"\nheartbeat = 1\nstorage = "{server}"'
    path = write_study(tmp_path, top)
    arguments = ("--set", "experiment.epochs=30")
    machines = [tmp_path / "one", tmp_path / "other"]  # no folder in common
    workers = [start_worker(path, *arguments, "--out", str(machine)) for machine in machines]
    plan, _ = load_study(path, arguments[1::2])
    try:

        def both_have_worked(records: list[TrialRecord]) -> bool:
            ended = {record.process for record in records if record.has_ended}
            running = {
                record.process
                for record in records
                if record.outcome == "running" and record.last and record.last.epoch <= 8
            }
            return ended == {worker.pid for worker in workers} and workers[1].pid in running

        seen = wait_for(plan, both_have_worked)
        (taken,) = (r for r in seen if r.outcome == "running" and r.process == workers[1].pid)
        workers[1].send_signal(signal.SIGKILL)
        assert taken.folder is not None
        (taken.folder / "worker.lock").unlink()  # as if it were another machine's: the heartbeat has to tell
        workers[1].communicate(timeout=60)
        out, err = workers[0].communicate(timeout=200)
    finally:
        for worker in workers:
            worker.kill()
    assert workers[0].returncode == 0, err
    assert f"study: {trials} of {trials} trials have ended ({trials} finished)" in out
    records = read_trials(open_study(plan, create=False))
    assert [(r.number, r.outcome) for r in records] == [(i, "finished") for i in range(trials)]
    assert {r.process for r in records} == {worker.pid for worker in workers}
    assert records[taken.number].attempt == 2
    assert records[taken.number].parameters == taken.parameters
    assert records[taken.number].process == workers[0].pid
    for record in records:  # each has its runs where it was made
        assert record.folder is not None
        assert list(record.folder.glob("*/result.json"))
    points = {tuple(r.parameters.items()) for r in records}
    assert len(points) == trials
