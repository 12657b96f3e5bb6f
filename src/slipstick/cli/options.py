"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. optimizer.lr=0.05.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint; keep complete runs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace runs that are there.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of all runs (default: runs).")]
