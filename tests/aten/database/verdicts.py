"""One sample of PyTorch's database in LNS(6, 14), compared with float32: passed, left out, refused or failed."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import bound
import torch
from samples import Program, Unfit, programs
from torch import Tensor
from torch.utils._pytree import tree_leaves
from wide import WIDE

import slipstick as ss


@dataclass(frozen=True)
class Verdict:
    """outcome: "passed", "left out", "refused" or "failed"; reason: of all but the first."""

    outcome: str
    reason: str = ""
    executed: frozenset[str] = field(default_factory=frozenset)
    """Overloads that the mode saw while the sample ran."""
    excess: float = 0.0


@dataclass(frozen=True)
class _Run:
    """A sample in the arithmetic: results, or why there are none; and the overloads that the mode saw."""

    results: list[Tensor]
    error: str
    executed: frozenset[str]
    refused: bool = False


def judge(program: Program) -> Verdict:
    """Run one sample and compare it. What the arithmetic refuses is refused, whatever float32 makes of it."""
    run = _in_the_arithmetic(program)
    if run.refused:
        return Verdict("refused", run.error, run.executed)
    try:
        want, limits = _expected(program)
    except Unfit as rule:
        return Verdict("left out", str(rule), run.executed)
    if run.error:
        return Verdict("failed", run.error, run.executed, math.inf)
    excess = bound.excess(run.results, want, limits)
    if excess > 1:
        return Verdict("failed", f"{excess:.3g} times the bound", run.executed, excess)
    return Verdict("passed", "", run.executed, excess)


def _in_the_arithmetic(program: Program) -> _Run:
    run = ss.use(WIDE, audit=True)
    assert run.audit is not None
    results: list[Tensor] = []
    error, refused = "", False
    try:
        with run:
            results = program.results()
    except ss.UnsupportedOperation as refusal:
        error, refused = str(refusal), True
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}".splitlines()[0]
    return _Run(results, error, frozenset(run.audit.counts), refused)


def _expected(program: Program) -> tuple[list[Tensor], list[Tensor]]:
    """PyTorch's own results and the bound of each element. Raises Unfit where they say nothing."""
    try:
        with bound.Roundings(None):
            want = program.results()
        draws = [_rounded_at_random(program, bound.moved(i)) for i in range(bound.DRAWS)]
    except Unfit:
        raise
    except Exception as error:  # whatever PyTorch itself does not do
        raise Unfit(f"PyTorch raises {type(error).__name__}") from None
    given = [x for x in tree_leaves((program.args, program.kwargs)) if isinstance(x, Tensor)]
    _check_fit(given, want)
    limits = bound.bounds(want, bound.condition(want, draws), [x for x in given if _is_float(x)])
    if not bound.says_something(want, limits):
        raise Unfit("ill-conditioned")
    return want, limits


def _rounded_at_random(program: Program, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    with bound.Roundings(change), torch.backends.mkldnn.flags(enabled=False):
        return program.results(change)


def verdicts(name: str) -> Iterator[Verdict]:
    """The samples of one entry of the database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for program in programs(name):
            yield Verdict("left out", str(program)) if isinstance(program, Unfit) else judge(program)


def counted(found: list[Verdict]) -> Counter[str]:
    return Counter(v.outcome for v in found)


def _check_fit(operands: list[Tensor], results: list[Tensor]) -> None:
    if not any(_is_float(x) for x in (*operands, *results)):
        raise Unfit("no floating point")
    for x in results:
        if x.layout is not torch.strided or x.dtype in (torch.float16, torch.bfloat16) or x.dtype.is_complex:
            raise Unfit("half, complex or sparse result")
        if _is_float(x) and not x.isfinite().all():
            raise Unfit("not finite")
    for x in (*operands, *results):
        if _is_float(x) and bound.largest(x) > bound.LARGEST:
            raise Unfit("out of range")


def _is_float(x: object) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point
