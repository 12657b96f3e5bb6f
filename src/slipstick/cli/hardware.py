"""``slipstick hardware``: units as RTL, proved equal to the software, with area, delay and energy."""

from pathlib import Path
from typing import Annotated

import typer

from slipstick.cli.options import Out, Set
from slipstick.cli.runs import failure
from slipstick.cli.stage_bar import stage_bar
from slipstick.errors import SpecificationError


def hardware(
    study: Annotated[Path, typer.Argument(help="A TOML file.")],
    overrides: Set = [],  # noqa: B006 (typer reads the default)
    out: Out = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where synthesis and simulations are kept. Default: the user's.")
    ] = None,
) -> None:
    """Cost the multiply-accumulate units of a study: Verilog, proofs, synthesis, energy, one page that compares them.

    The same command goes on where it was interrupted; what is already known is not made again.
    """
    try:
        from slipstick.hardware.cache import Cache
        from slipstick.hardware_study import errors_table, load_study, networks_table, run_study, units_table
        from slipstick.hardware_study.page import write_page, write_plots
    except ModuleNotFoundError as error:
        if (error.name or "slipstick").split(".")[0] == "slipstick":
            raise
        raise SpecificationError(
            f"slipstick hardware needs the package {error.name!r}; pip install 'slipstick[hardware]'"
        ) from None
    chosen = load_study(study, tuple(overrides), out)
    with stage_bar(lines=True) as progress:
        result = run_study(chosen, cache=Cache(cache), progress=progress)
    print("\n\n".join(filter(None, (units_table(result), errors_table(result), networks_table(result)))))
    write_plots(result, chosen.folder / "plots")
    page = write_page(result, chosen.folder / "report.html")
    print(f"folder: {chosen.folder}   page: {page}")
    failed = [
        f"{unit.label}: {check.what}: {check.told}" for unit in result.units for check in unit.checks if check.failed
    ]
    if failed:
        raise failure(failed[0])
