"""The commands. Each is a few lines around the Python API."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import slipstick
from slipstick.cli.assign import assign
from slipstick.cli.design import design
from slipstick.cli.design_exponential import design_exp
from slipstick.cli.hardware import hardware
from slipstick.cli.options import Out, Overwrite, Resume, Set
from slipstick.cli.report import report
from slipstick.cli.runs import failure, print_runs
from slipstick.cli.sweep import sweep
from slipstick.errors import SpecificationError

app = typer.Typer(
    help="Train PyTorch programs in the arithmetic of hardware that does not exist yet, bit for bit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

RecordD = Annotated[
    bool, typer.Option("--record-d", help="Measure the distances d that log additions see, into distances.json.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"slipstick {slipstick.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    experiment: Annotated[Path, typer.Argument(help="A TOML file.")],
    overrides: Set = [],  # noqa: B006 (typer reads the default)
    resume: Resume = False,
    overwrite: Overwrite = False,
    out: Out = None,
    record_d: RecordD = False,
) -> None:
    """Train one network in one arithmetic."""
    from slipstick.report import read_run
    from slipstick.train import load_experiment, run_folder
    from slipstick.train import train as run
    from slipstick.train.distance_log import RECORD_EVERY
    from slipstick.train.workers import Workers

    chosen = load_experiment(experiment, overrides, out)
    record_every = RECORD_EVERY if record_d else None
    result = run(chosen, resume=resume, overwrite=overwrite, record_every=record_every)
    if not Workers.join().leads:
        return
    folder = run_folder(chosen)
    print_runs([read_run(folder)])
    print(f"run folder: {folder}")
    if result.status == "diverged":
        raise failure(result.message)


@app.command()
def compare(
    experiment: Annotated[Path | None, typer.Argument(help="A TOML file; without one, a demonstration.")] = None,
    overrides: Set = [],  # noqa: B006
    arithmetic: Annotated[
        list[str], typer.Option("--arithmetic", metavar="TEXT", help='e.g. "LNS(5,5) hamad2025", fp32; repeatable.')
    ] = [],  # noqa: B006
    resume: Resume = False,
    overwrite: Overwrite = False,
    out: Out = None,
) -> None:
    """Train one network in several arithmetics: same weights, same batches, same budget. Table and HTML report."""
    from slipstick.report import read_run, write_report
    from slipstick.train import compare as run
    from slipstick.train import comparison_folder, load_comparison, run_folder
    from slipstick.train.workers import Workers

    chosen = load_comparison(experiment, overrides, arithmetic, out)
    run(chosen, resume=resume, overwrite=overwrite)
    if not Workers.join().leads:
        return
    runs = [read_run(run_folder(one)) for one in chosen.runs]
    print_runs(runs)
    print(f"report: {write_report(runs, comparison_folder(chosen) / 'report.html')}")


app.command()(assign)
app.command()(design)
app.command()(design_exp)
app.command()(hardware)
app.command()(report)
app.command()(sweep)


@app.command()
def doctor() -> None:
    """What this installation runs on: versions, threads, instruction sets, kernels."""
    from slipstick.cli.doctor import environment_table, kernels_table

    console = Console()
    console.print(environment_table())
    console.print(kernels_table())


@app.command()
def bench(
    arithmetic: Annotated[
        list[str], typer.Option("--arithmetic", metavar="TEXT", help='e.g. "LNS(5,5) hamad2025"; repeatable.')
    ] = [],  # noqa: B006
    quick: Annotated[bool, typer.Option("--quick", help="Kernels only, without the VGG-11 training step.")] = False,
    dispatch: Annotated[
        bool, typer.Option("--dispatch", help="Instead, what calling an operator costs beside its work.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watching", help="Instead, what watching a training costs.")] = False,
    all_targets: Annotated[
        bool, typer.Option("--all", help="Instead, every target beside what is measured: ten minutes or more.")
    ] = False,
    baselines: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --all: tables by class of machine; tells what moved."),
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="With --baselines: keep this run's table there.")] = False,
) -> None:
    """Speed as ratios to float32 in the same run: products, elementwise work, a training step."""
    from slipstick.bench.kernels import ARITHMETICS
    from slipstick.cli.bench import (
        print_kernels,
        print_overheads,
        print_targets,
        print_training_steps,
        print_watching_costs,
    )

    if record and baselines is None:
        raise SpecificationError("--record: needs --baselines DIR, the folder to keep the table in")
    if all_targets:
        print_targets(baselines=baselines, record=record)
        return
    chosen = tuple(arithmetic) or ARITHMETICS
    if watching:
        print_watching_costs(chosen[0])
        return
    if dispatch:
        print_overheads(chosen[0])
        return
    print_kernels(chosen)
    if not quick:
        print_training_steps(chosen[:1])
