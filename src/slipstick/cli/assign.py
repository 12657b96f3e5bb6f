"""``slipstick assign``: the precision of every tensor of a training, tried out in one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slipstick.cli.options import Out, Overwrite, Set
from slipstick.cli.runs import failure, print_runs
from slipstick.errors import SpecificationError

if TYPE_CHECKING:
    from slipstick.assign import Answer, Subject
    from slipstick.train import Experiment

_CONSTANTS = (
    "paper: ranges of gradients hold 2 (weights) and 4 (activations) sigma. released: of the authors' code, 2 and 8 "
    "sigma times 3.16, which corrects an average that starts at zero; the probe's starts at the first variance. Logits "
    "of more than 17 classes have gradients beyond 4 sigma: take released."
)

_FORMATS = (
    "fixed: bits and range of every tensor. lns: its (I,F). mixed: fixed, but lns for activations and their gradients "
    "where that takes fewer bits."
)


def assign(
    source: Annotated[str, typer.Argument(metavar="WHAT", help="A TOML file, or package.module:function.")],
    overrides: Set = [],  # noqa: B006 (typer reads the default)
    out: Out = None,
    target: Annotated[float, typer.Option(help="The largest predicted mismatch with float's decisions.")] = 0.01,
    constants: Annotated[str, typer.Option(help=_CONSTANTS)] = "released",
    minimum_bits: Annotated[
        int | None, typer.Option(help="B_min (F_min of lns) to take, whatever mismatch it predicts.")
    ] = None,
    smallest_lr: Annotated[
        float | None, typer.Option(help="The least at which training must go on. Default: the probed training's last.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Of a program; an experiment has its own (default: 1).")] = None,
    samples: Annotated[int, typer.Option(help="Training samples that noise gains are averaged over.")] = 256,
    draws: Annotated[
        int | None, typer.Option(help="Estimate noise gains by so many random signs a sample. Default: exact.")
    ] = None,
    every: Annotated[int, typer.Option(help="Look at one training step in so many.")] = 1,
    ignore: Annotated[list[str], typer.Option(metavar="PATTERN", help="Layers to leave in float32; repeatable.")] = [],  # noqa: B006
    format: Annotated[str, typer.Option(help=_FORMATS)] = "fixed",
    explain: Annotated[
        list[str], typer.Option(metavar="LAYER.TENSOR", help="Only say why, from the assignment on disk; repeatable.")
    ] = [],  # noqa: B006
    mismatch: Annotated[
        bool, typer.Option("--mismatch", help="Measure an experiment's mismatch too, at every B_min.")
    ] = False,
    train: Annotated[
        bool | None, typer.Option("--train/--no-train", help="Train an experiment as assigned; not with lns.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Assign precisions (Sakr & Shanbhag 2019): probe a float32 training, print bits, train with them, count cost.

    The same command goes on where it was interrupted, and reads what is on disk. A program is a function without
    arguments that returns (model, loader) or (model, loader, optimizer); it is assigned, not trained with that.
    """
    from slipstick.assign import (
        AssignmentRequest,
        ProbeOptions,
        answer,
        measured_mismatch,
        to_be_measured,
        to_be_trained,
        train_assigned,
    )
    from slipstick.assign import explain as explanation
    from slipstick.precision.table import cost_table, mismatch_table

    subject = _subject(source, overrides, out, epochs)
    request = AssignmentRequest(format, target, constants, minimum_bits, smallest_lr)
    if explain:
        print("\n".join(explanation(subject, request, tensor) for tensor in explain))
        return
    trained, measured = to_be_trained(subject, request, train), to_be_measured(subject, request, mismatch)
    options = ProbeOptions(samples, draws, every, tuple(ignore))
    found = answer(subject, request, options, overwrite=overwrite, say=_say)
    _print_assignment(found)
    if measured is not None:
        print(mismatch_table(measured_mismatch(measured, found, say=_say), target), flush=True)
    message = ""
    if trained is not None:
        run, result = train_assigned(trained, found, overwrite=overwrite, say=_say)
        _print_comparison(trained.probed, run, found.folder)
        message = result.message
    if found.costs:
        _say("cost: bits held, full adders and bits sent, of one sample's step")
        print(cost_table(found.costs))
    if message:
        raise failure(message)


def _subject(source: str, overrides: list[str], out: Path | None, epochs: int | None) -> "Subject":
    from slipstick.assign import ExperimentSubject, ProgramSubject
    from slipstick.train import load_experiment

    if ":" not in source or source.endswith(".toml") or Path(source).exists():
        if epochs is not None:
            raise SpecificationError(f"--epochs {epochs}: is of programs; an experiment takes --set epochs={epochs}")
        return ExperimentSubject(load_experiment(Path(source), overrides, out))
    if overrides:
        raise SpecificationError(f"--set {overrides[0]}: is of experiments; {source} is a program, change that")
    return ProgramSubject(source, 1 if epochs is None else epochs, out or Path("runs"))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_assignment(found: "Answer") -> None:
    from slipstick.precision.lns import LNSAssignment
    from slipstick.precision.table import assignment_table, lns_table

    assignment = found.assignment
    print(lns_table(assignment) if isinstance(assignment, LNSAssignment) else assignment_table(assignment))
    print(f"assignment: {found.file}   picture: {found.figure}", flush=True)


def _print_comparison(probed: "Experiment", assigned: "Experiment", folder: Path) -> None:
    from slipstick.report import read_run, write_report
    from slipstick.train import run_folder

    runs = [read_run(run_folder(run)) for run in (probed, assigned)]
    print_runs(runs)
    print(f"report: {write_report(runs, folder / 'report.html')}", flush=True)
