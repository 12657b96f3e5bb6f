"""``slipstick design-exp``: the exponential of softmax as a piece-wise linear table, beside correct rounding."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from slipstick.arithmetic.exponential import named_exponential
from slipstick.design.exponential import (
    INT_BITS,
    ExponentialErrors,
    designed_exponential,
    exponential_errors,
    rounding_errors,
)
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.train.atomic_files import write_json


def design_exp(
    frac_bits: Annotated[int, typer.Option(help="F of the format LNS(I,F), 1 to 8.")],
    segments: Annotated[int, typer.Option(help="At most this many.")] = 32,
    int_bits: Annotated[int, typer.Option(help="I: the table ends where exp(-|x|) leaves LNS(I,F).")] = INT_BITS,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="The file to write.")] = None,
) -> None:
    """Design the exponential of a bit-width: errors beside correct rounding, and a JSON file."""
    file = out or Path(f"exp-F{frac_bits}-{segments}-segments.json")
    if not file.parent.is_dir():
        raise SpecificationError(f"{file}: its folder does not exist; make it first")
    with Console(stderr=True).status("searching"):
        table = designed_exponential(frac_bits, segments, int_bits)
    errors = exponential_errors(table, int_bits)
    command = f"slipstick design-exp --frac-bits {frac_bits} --segments {segments} --int-bits {int_bits}"
    write_json(file, {"exp": table.to_dict(), "errors": errors.to_dict(), "command": command})
    shown = Table("", "softmax RMS", "RMS", "bias", "max", "exp itself, max", box=SIMPLE_HEAD)
    shown.add_row("this design", *_cells(errors))
    shown.add_row("correctly rounded", *_cells(rounding_errors(frac_bits, int_bits)))
    if (shipped := _shipped(frac_bits)) is not None:
        shown.add_row("designed (shipped)", *_cells(shipped))
    Console().print(shown)
    print("LSB; softmax RMS: weighted by exp(-|x|); the last column is the absolute error of exp(-|x|).")
    print(f"design: {file}")
    print(f'use it: slipstick compare --arithmetic "LNS({int_bits},{frac_bits}) designed exp={file}"')


def _shipped(frac_bits: int) -> ExponentialErrors | None:
    try:
        table = named_exponential("designed", LNS(INT_BITS, frac_bits))
    except SpecificationError:
        return None
    return None if table is None else exponential_errors(table)


def _cells(errors: ExponentialErrors) -> list[str]:
    return [
        f"{errors.softmax_rms:.3f}",
        f"{errors.rms:.3f}",
        f"{errors.bias:+.3f}",
        f"{errors.max:.1f}",
        f"{errors.absolute_max:.4f}",
    ]
