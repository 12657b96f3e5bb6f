"""What ``slipstick bench`` shows, row by row as it is measured."""

from functools import partial
from itertools import chain
from pathlib import Path

import torch
from rich.console import Console
from rich.live import Live
from rich.table import Table

from slipstick.bench.baseline import baseline_file, moved, read_baseline, write_baseline
from slipstick.bench.datapath import datapath_rows
from slipstick.bench.dispatch import overheads
from slipstick.bench.kernels import kernel_rows
from slipstick.bench.targets import Measured, Sizes, Target, targets
from slipstick.bench.training_step import step_cost
from slipstick.bench.watching import watching_costs
from slipstick.cli.stage_bar import stage_bar
from slipstick.train.environment import environment
from slipstick.watch import WATCH_EVERY, WATCH_RECIPE_EVERY

_MIB = 1 << 20


def print_kernels(arithmetics: tuple[str, ...]) -> None:
    """Rates and ratios of the kernels; every ratio is to the reference named beside it, measured in turns."""
    console = Console()
    facts = environment()
    console.print(f"instruction set {facts['isa']}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    table = Table("threads", "arithmetic", "path", "work", "rate", "ratio", "to")
    with Live(table, console=console, refresh_per_second=2, vertical_overflow="visible"):
        for row in chain(kernel_rows(arithmetics), datapath_rows()):
            rate = f"{row.rate:.2f} {row.unit}"
            table.add_row(str(row.threads), row.arithmetic, row.path, row.what, rate, f"{row.ratio:.3f}", row.reference)


def print_overheads(arithmetic: str) -> None:
    """What calling an operator costs beside its work."""
    columns = ("on 16 numbers", "alone", "empty modes", arithmetic, "added", "to modes")
    table = Table(*columns, title="microseconds a call")
    with stage_bar() as progress:
        rows = overheads(arithmetic, done=partial(progress, "calling operators"))
    for row in rows:
        times = (row.alone_us, row.empty_modes_us, row.in_arithmetic_us, row.added_us, row.added_to_modes_us)
        table.add_row(row.operator, *(f"{each:.1f}" for each in times))
    Console().print(table)


def print_watching_costs(arithmetic: str) -> None:
    """What a step that is looked at costs beside others, and what that adds at the default interval."""
    title = (
        f"milliseconds a step, {torch.get_num_threads()} threads; looked at: every {WATCH_EVERY}th, "
        f"with a recipe {WATCH_RECIPE_EVERY}th"
    )
    table = Table("network", "in", "unwatched", "between looks", "looked at", "added", title=title)
    with Live(table, console=Console(), refresh_per_second=2):
        for cost in watching_costs(arithmetic):
            times = (f"{1000 * each:.1f}" for each in (cost.plain, cost.between, cost.looked_at))
            table.add_row(cost.name, cost.rounding, *times, f"{cost.share:.1%}")


def print_training_steps(arithmetics: tuple[str, ...], batch: int = 128) -> None:
    """The VGG-11 step on CIFAR shapes, with its peak memory."""
    console = Console()
    table = Table("arithmetic", "step", "to fp32", "peak memory", "to fp32", title=f"VGG-11, CIFAR, batch {batch}")
    with console.status("fp32 step"):
        reference = step_cost("fp32", batch)
    for text in ("fp32", *arithmetics):
        with console.status(f"{text} step"):
            cost = reference if text == "fp32" else step_cost(text, batch)
        time, memory = cost.seconds / reference.seconds, cost.peak_memory / reference.peak_memory
        table.add_row(
            text, f"{cost.seconds:.2f} s", f"{time:.1f}x", f"{cost.peak_memory / _MIB:.0f} MiB", f"{memory:.2f}x"
        )
    console.print(table)


def print_targets(sizes: Sizes | None = None, baselines: Path | None = None, record: bool = False) -> None:
    """Every target beside what was measured, as a Markdown table that can be kept; then what moved since the baseline.

    baselines: a folder of tables by class of machine; record: write this run's there.
    """
    chosen = list(targets(sizes))
    print(f"{_machine()}\n\n| target | bar | measured | | of |\n|---|---|---|---|---|", flush=True)
    found: dict[str, float] = {}
    for number, target in enumerate(chosen):
        with Console(stderr=True).status(f"{number + 1} of {len(chosen)}: {target.name}"):
            measured = target.measure()
        found[target.name] = measured.value
        print(_target_row(target, measured), flush=True)
    if baselines is None:
        return
    path = baseline_file(baselines)
    before = read_baseline(path)
    print("\n" + "\n".join(str(move) for move in moved(before, found)) if before else f"\nno baseline: {path}")
    if record:
        write_baseline(path, found)
        print(f"recorded: {path}")


def _machine() -> str:
    facts = environment()
    blas = "oneMKL" if torch.backends.mkl.is_available() else "its own BLAS"
    capability = torch.backends.cpu.get_cpu_capability()
    sgemm = f"torch {torch.__version__}, {blas}, {capability}"
    return f"{facts['processor']}, {facts['isa']} kernels, at most {torch.get_num_threads()} threads; sgemm: {sgemm}"


def _target_row(target: Target, measured: Measured) -> str:
    bar = f"{'≥' if target.sense == 'at least' else '≤'} {target.bar:g}{target.unit}"
    verdict = ("met" if target.met(measured.value) else "**not met**") if target.applies else f"bar is for {target.isa}"
    return f"| {target.name} | {bar} | {measured.value:.3g}{target.unit} | {verdict} | {measured.detail} |"
