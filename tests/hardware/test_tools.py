"""Tools fail in their own process: one line that says which and why, then the end of the log."""

import sys
import time

import pytest

from slipstick.errors import SlipstickError
from slipstick.hardware import tools
from slipstick.hardware.cache import Cache, content_key
from slipstick.hardware.tools import MissingTool, ToolFailure, ToolTimeout, package_folder, run, run_yosys


def test_a_missing_package_names_the_extra_to_install():
    with pytest.raises(MissingTool, match=r"synthesis needs no_such_package.*pip install 'slipstick\[hardware\]'"):
        package_folder("no_such_package", "synthesis")
    assert issubclass(MissingTool, SlipstickError)


def test_a_missing_compiler_says_how_to_get_one(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingTool, match="no g\\+\\+ on PATH; run: sudo apt install"):
        tools.compiler.__wrapped__()


def test_run_returns_what_was_printed_and_keeps_it(tmp_path):
    told = run([sys.executable, "-c", "print('hello')"], what="greeting", folder=tmp_path, timeout_s=60, log="g.log")
    assert told == (tmp_path / "g.log").read_text() == "hello\n"


def test_a_failure_is_one_line_and_the_end_of_the_log(tmp_path):
    program = "for i in range(100): print('line', i)\nraise SystemExit(3)"
    with pytest.raises(ToolFailure) as caught:
        run([sys.executable, "-c", program], what="the job", folder=tmp_path, timeout_s=60)
    first, *rest = str(caught.value).splitlines()
    assert first == "the job: failed (exit status 3); the end of its log:"
    assert rest[-1].strip() == "line 99"
    assert len(rest) < 20


def test_a_killed_tool_names_its_signal(tmp_path):
    program = "import os; os.kill(os.getpid(), 11)"
    with pytest.raises(ToolFailure, match="killed by SIGSEGV"):
        run([sys.executable, "-c", program], what="the job", folder=tmp_path, timeout_s=60)


def test_a_time_limit_stops_the_tool_and_what_it_started(tmp_path):
    child = "import time; time.sleep(600)"
    program = f"import subprocess, sys; print('began', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    began = time.monotonic()
    with pytest.raises(ToolTimeout, match=r"stopped after its time limit of 2 s(?s:.*)began"):
        run([sys.executable, "-c", program], what="the job", folder=tmp_path, timeout_s=2)
    assert time.monotonic() - began < 300  # it did not wait for the child


def test_a_tool_that_cannot_be_started_is_a_failure(tmp_path):
    with pytest.raises(ToolFailure, match="could not be started"):
        run(["/nonexistent/tool"], what="the job", folder=tmp_path, timeout_s=1)


def test_an_error_in_yosys_leaves_this_process_alone(tmp_path):
    pytest.importorskip("pyosys")
    with pytest.raises(ToolFailure, match=r"yosys, a test: failed \(exit status 1\)(?s:.*)No such command: nonsense"):
        run_yosys("nonsense\n", what="a test", folder=tmp_path, timeout_s=60)
    assert not list(tmp_path.glob("tmp-*"))


def test_an_entry_is_made_once(tmp_path):
    cache, made = Cache(tmp_path), []

    def make(folder):
        made.append(folder)
        (folder / "file").write_text("content")

    first, second = (cache.entry("kind", content_key("a"), make) for _ in range(2))
    assert first == second
    assert (first / "file").read_text() == "content"
    assert len(made) == 1


def test_a_failed_entry_leaves_nothing(tmp_path):
    def make(folder):
        (folder / "half").write_text("")
        raise ToolFailure("no")

    with pytest.raises(ToolFailure):
        Cache(tmp_path).entry("kind", content_key("a"), make)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_second_of_two_processes_at_the_same_entry_takes_the_first_ones(tmp_path):
    cache, key = Cache(tmp_path), content_key("a")

    def make(folder):
        (folder / "file").write_text("second")
        cache.entry("kind", key, lambda other: (other / "file").write_text("first") and None)

    assert (cache.entry("kind", key, make) / "file").read_text() == "first"


def test_keys_depend_on_where_parts_end():
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key("a") == content_key(b"a")
