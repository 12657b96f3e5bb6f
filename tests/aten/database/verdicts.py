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


def judge(program: Program) -> Verdict:
    """Run one sample and compare it."""
    try:
        with bound.Roundings(None):
            want = program.results()
        draws = [_rounded_at_random(program, bound.moved(i)) for i in range(bound.DRAWS)]
    except Unfit as rule:
        return Verdict("left out", str(rule))
    except Exception as error:  # whatever PyTorch itself does not do
        return Verdict("left out", f"PyTorch raises {type(error).__name__}")
    try:
        _check_fit([x for x in tree_leaves((program.args, program.kwargs)) if isinstance(x, Tensor)], want)
    except Unfit as rule:
        return Verdict("left out", str(rule))
    run = ss.use(WIDE, audit=True)
    assert run.audit is not None
    try:
        with run:
            got = program.results()
    except ss.UnsupportedOperation as refusal:
        return Verdict("refused", str(refusal), frozenset(run.audit.counts))
    except Exception as error:
        return Verdict(
            "failed", f"{type(error).__name__}: {error}".splitlines()[0], frozenset(run.audit.counts), math.inf
        )
    executed = frozenset(run.audit.counts)
    operands = [x for x in tree_leaves((program.args, program.kwargs)) if _is_float(x)]
    limits = bound.bounds(want, bound.condition(want, draws), operands)
    if not bound.says_something(want, limits):
        return Verdict("left out", "ill-conditioned", executed)
    excess = bound.excess(got, want, limits)
    if excess > 1:
        return Verdict("failed", f"{excess:.3g} times the bound", executed, excess)
    return Verdict("passed", "", executed, excess)


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
