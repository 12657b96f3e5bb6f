"""The exponentials that ``exp="designed"`` means, one for each width, and what they cost.

Error of a softmax's terms, root mean square in LSBs (``softmax_rms``), and the greatest error of exp(-|x|) itself:

             F = 3         F = 4         F = 5         F = 6         F = 7         F = 8
    16      .302 .0398    .341 .0205    .455 .0182    .718 .0145   1.181 .0156   2.159 .0151
    32      .298 .0398    .297 .0205    .347 .0135    .465 .0103    .712 .0083   1.230 .0073
    rounded .298 .0398    .293 .0205    .291 .0104    .292 .0053    .291 .0027    .291 .0014

32 segments, the shipped choice, are as good as correct rounding up to F = 4 and near it at F = 5, where their error is
3/4 of that of 16. Beyond, the number of segments sets the error, not the width: about 0.4 % of a term. And from F = 5
on exp does not fall everywhere: at up to 6 arguments, about one an octave where slopes change, a larger |x| gives a
larger exp, by 2 % where exp is above 1/5 and by 19 % at most (``inversions``).

    python -m slipstick.design.shipped_exponentials --output FILE
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from slipstick.design.exponential import (
    INT_BITS,
    UNIFORM_SHARE,
    designed_exponential,
    exponential_errors,
    rounding_errors,
)
from slipstick.design.records import as_json

FRAC_BITS = (3, 4, 5, 6, 7, 8)
SEGMENTS = 32
OUTPUT = "src/slipstick/arithmetic/exponentials.json"

_ALTERNATIVE = 16
_COMMAND = "python -m slipstick.design.shipped_exponentials"
_SOURCE = (
    f"Optimal piece-wise linear exponentials; regenerate with `{_COMMAND} --output {OUTPUT}`. With d = origin - L, L "
    "the log of |x|, and segment k the first with bound[k] >= d, the log of exp(-|x|) is offset + shift(d, exponent); "
    "shift left for exponent >= 0, floor shift right otherwise; 0 beyond the last bound; below the format for d < 0. "
    "Errors are in LSBs of the log; relative and absolute ones are of exp itself."
)
_OBJECTIVE = (
    f"Least mean squared error in LSBs, weighted by exp(-|x|) with a uniform share of {UNIFORM_SHARE:g}, over every L "
    f"for which exp(-|x|) is neither 1 nor below LNS({INT_BITS},F); at most {SEGMENTS} segments with power-of-two "
    "slopes"
)


def design_exponential_records(widths: Iterable[int] = FRAC_BITS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and JSON form of each shipped table, with its objective and errors; half a minute for frac_bits 8."""
    for frac_bits in widths:
        yield f"exp-F{frac_bits}", _record(frac_bits)


def _record(frac_bits: int) -> dict[str, Any]:
    table = designed_exponential(frac_bits, SEGMENTS)
    fewer = designed_exponential(frac_bits, _ALTERNATIVE)
    return {
        "exp": table.to_dict(),
        "objective": _OBJECTIVE,
        "errors": exponential_errors(table).to_dict(),
        f"errors_of_{_ALTERNATIVE}_segments": exponential_errors(fewer).to_dict(),
        "errors_of_correct_rounding": rounding_errors(frac_bits).to_dict(),
        "command": f"{_COMMAND} --frac-bits {frac_bits}",
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=_COMMAND, description="Design the shipped exponentials again.")
    parser.add_argument("--frac-bits", type=int, nargs="+", default=FRAC_BITS, choices=FRAC_BITS, metavar="F")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args(arguments)
    records: dict[str, Any] = {"_source": _SOURCE}
    for name, record in design_exponential_records(options.frac_bits):
        errors = record["errors"]
        print(f"{name}: softmax rms {errors['softmax_rms']:.3f}, rms {errors['rms']:.3f} LSB", flush=True)
        records[name] = record
    options.output.write_text(as_json(records))


if __name__ == "__main__":
    main()
