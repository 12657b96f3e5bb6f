"""The command line. It parses, calls the Python API and prints."""

import shlex
import sys
from collections.abc import Sequence

from slipstick.errors import SlipstickError

USER_ERROR = 2
_GO_ON_BY_THEMSELVES = ("assign", "sweep")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 2 for a mistake of the user, 128 + n after signal n."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from slipstick.cli.app import app
        from slipstick.train.interrupts import Interrupted
        from slipstick.train.workers import Workers
    except ModuleNotFoundError as error:
        if (error.name or "slipstick").split(".")[0] == "slipstick":
            raise
        return _fail(f"the command line needs the package {error.name!r}; pip install 'slipstick[train]'")
    try:
        app(given, prog_name="slipstick")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except SlipstickError as error:
        return _fail(str(error))
    except Interrupted as stopped:
        workers = Workers.join()
        if workers.size > 1:
            if workers.leads:
                print(f"slipstick: {stopped}; start all processes again with --resume", file=sys.stderr)
            return 128 + stopped.signal_number
        again = [word for word in given if word not in ("--resume", "--overwrite")]
        again += [] if given[0] in _GO_ON_BY_THEMSELVES else ["--resume"]
        print(f"slipstick: {stopped}; continue with: {shlex.join(['slipstick', *again])}", file=sys.stderr)
        return 128 + stopped.signal_number
    return 0


def _fail(message: str) -> int:
    print(f"slipstick: {message}", file=sys.stderr)
    return USER_ERROR
