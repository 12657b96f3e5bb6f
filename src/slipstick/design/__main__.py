"""``python -m slipstick.design``: design the shipped adders again, from nothing but their requests."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from slipstick.design.records import as_json
from slipstick.design.shipped import OUTPUT, WIDTHS, design_records

_SOURCE = (
    f"Optimal piece-wise linear adders; regenerate with `python -m slipstick.design --output {OUTPUT}`. Shape as in "
    "hamad2025.json: segment k is the first with bound[k] >= d. D+ = offset - shift(d, exponent), D- = offset + "
    "shift(d, exponent); shift left for exponent >= 0, floor shift right otherwise; 0 beyond the last bound. Errors "
    "are in LSBs; unconstrained_errors: of the least-squares optimum with as many segments and bits of bounds. An "
    "entry with the key adder is an indexed table, as in a design file."
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m slipstick.design", description=__doc__)
    parser.add_argument("--frac-bits", type=int, nargs="+", default=WIDTHS, choices=WIDTHS, metavar="F")
    parser.add_argument("--output", type=Path, help="write the JSON here instead of to standard output")
    options = parser.parse_args(arguments)
    designs: dict[str, Any] = {"_source": _SOURCE}
    print(
        f"designing the adders of {len(options.frac_bits)} widths: seconds each, a minute from F = 8", file=sys.stderr
    )
    started = time.monotonic()
    for name, record in design_records(options.frac_bits):
        errors = ", ".join(
            f"D{sign} rms {e['rms']:.3f} bias {e['bias']:+.4f}"
            for sign, e in (("+", record["evaluation"]["plus"]), ("-", record["evaluation"]["minus"]))
        )
        print(f"{name}: {errors} LSB ({time.monotonic() - started:.1f} s)", file=sys.stderr)
        designs[name] = record
    if options.output is None:
        sys.stdout.write(as_json(designs))
    else:
        options.output.write_text(as_json(designs))


if __name__ == "__main__":
    main()
