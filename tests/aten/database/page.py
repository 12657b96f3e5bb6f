"""docs/operators.md, generated from PyTorch's own databases: ``python tests/aten/database/page.py``."""

import itertools
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from samples import NAMES, Unfit, direct_programs
from torch._ops import OpOverload
from verdicts import Verdict, judge, verdicts

from slipstick.arithmetic.functions import function_names
from slipstick.aten.inventory import asks_for_metadata, core_operators, execution
from slipstick.aten.registry import REFUSED

PAGE = Path(__file__).resolve().parents[3] / "docs" / "operators.md"
SAMPLES = 6
"""Of every entry of the database, the first ones."""
TARGET = 0.95

OUTCOMES = ("passed", "left out", "refused", "failed")


@dataclass
class Survey:
    """Verdicts of the database's entries, and of core operators that no entry reached."""

    entries: dict[str, list[Verdict]] = field(default_factory=dict)
    direct: dict[str, list[Verdict]] = field(default_factory=dict)

    def of_operator(self, overload: OpOverload) -> Counter[str]:
        """Outcomes of the samples that executed ``overload``, or that it refused."""
        counts: Counter[str] = Counter()
        for verdict in itertools.chain(*self.entries.values(), self.direct.get(str(overload), ())):
            if verdict.outcome == "refused":
                counts["refused"] += verdict.reason.startswith(f"{overload} ") or verdict.reason.startswith(
                    f"{overload}:"
                )
            elif str(overload) in verdict.executed:
                counts[verdict.outcome] += 1
        return counts


def survey(samples: int = SAMPLES) -> Survey:
    """Run the database."""
    found = Survey()
    for name in NAMES:
        found.entries[name] = list(itertools.islice(verdicts(name), samples))
        _say(f"{name}: {summary(found.entries[name])}")
    for overload in core_operators():
        if not found.of_operator(overload)["passed"]:
            found.direct[str(overload)] = list(direct_verdicts(overload, samples))
            _say(f"{overload}: {summary(found.direct[str(overload)])}")
    return found


def direct_verdicts(overload: OpOverload, samples: int = SAMPLES) -> Iterator[Verdict]:
    """Samples with which an overload is called itself, since PyTorch's functions do not reach it."""
    for program in itertools.islice(direct_programs(overload), samples):
        verdict = Verdict("left out", str(program)) if isinstance(program, Unfit) else judge(program)
        if verdict.outcome in ("passed", "left out"):
            # An integer operator is executed as it is, without an entry in the audit.
            verdict = Verdict(verdict.outcome, verdict.reason, verdict.executed | {str(overload)}, verdict.excess)
        yield verdict


def summary(found: list[Verdict]) -> str:
    """Counts by outcome, as the page has them."""
    counts = Counter(v.outcome for v in found)
    return " | ".join(str(counts[outcome]) for outcome in OUTCOMES)


def core_rows(found: Survey) -> Iterator[tuple[OpOverload, str, Counter[str], str]]:
    """Core operators that take or return floating tensors: overload, execution, outcomes, why it does not pass."""
    for overload in core_operators():
        if excluded(overload):
            continue
        counts = found.of_operator(overload)
        reason = ""
        if not counts["passed"] or counts["failed"]:
            reason = REFUSED.get(overload) or ("a sample fails" if counts["failed"] else "no sample reaches it")
        yield overload, execution(overload), counts, reason


def excluded(overload: OpOverload) -> str:
    """Why an operator neither takes nor returns floating tensors; empty if it does."""
    if asks_for_metadata(overload):
        return "asks for shape, stride or storage"
    if overload.overloadpacket.__name__.startswith("bitwise_"):
        return "bits of integers; PyTorch has none for floating point"
    return ""


@dataclass(frozen=True)
class Row:
    """A core operator's line on the page."""

    execution: str
    outcomes: str
    reason: str

    @property
    def passes(self) -> bool:
        """Whether a sample passed and none failed."""
        passed, *_, failed = (int(n) for n in self.outcomes.split(" | "))
        return passed > 0 and not failed


def core_lines() -> dict[str, str]:
    """Core operators that take or return floating tensors, as they are executed now."""
    return {str(o): execution(o) for o in core_operators() if not excluded(o)}


def core_rows_of(page: str) -> dict[str, Row]:
    """The lines of core operators on a page."""
    pattern = r"^\| `(aten\.\S+)` \| (\w+) \| (\d+ \| \d+ \| \d+ \| \d+) \| (.*) ?\|$"
    return {n: Row(how, counts, why.strip()) for n, how, counts, why in re.findall(pattern, page, re.MULTILINE)}


def entries_of(page: str) -> dict[str, str]:
    """The lines of the databases' entries on a page: outcomes by name."""
    pattern = r"^\| ([^`|]+) \| (\d+ \| \d+ \| \d+ \| \d+) \| .*\|$"
    return dict(re.findall(pattern, page, re.MULTILINE))


def written(found: Survey) -> str:
    """The page."""
    core = list(core_rows(found))
    passing = sum(bool(counts["passed"]) and not counts["failed"] for _, _, counts, _ in core)
    every = [v for entry in found.entries.values() for v in entry]
    totals = Counter(v.outcome for v in every)
    rules = Counter(v.reason for v in every if v.outcome == "left out")
    lines = [
        HEAD.format(
            samples=SAMPLES,
            passing=passing,
            core=len(core),
            share=100 * passing / len(core),
            entries=len(found.entries),
            total=len(every),
            **{outcome.replace(" ", "_"): totals[outcome] for outcome in OUTCOMES},
            version=torch.__version__.split("+")[0],
            functions=textwrap.fill(", ".join(function_names()), 118, initial_indent="  ", subsequent_indent="  "),
        ),
        "## The core opset\n",
        "| operator | executed | passed | left out | refused | failed | why it does not pass |",
        "|---|---|--:|--:|--:|--:|---|",
        *(f"| `{o}` | {how} | {_cells(counts)} | {why} |" for o, how, counts, why in core),
        "",
        "Not counted, since they neither take nor return floating tensors:\n",
        *(f"- `{o}`: {why}" for o in core_operators() if (why := excluded(o))),
        "\n## Samples left out\n",
        "| rule | samples |",
        "|---|--:|",
        *(f"| *{rule}* | {count} |" for rule, count in sorted(rules.items())),
        "\n## The databases\n",
        "| entry | passed | left out | refused | failed | refused by |",
        "|---|--:|--:|--:|--:|---|",
        *(f"| {name} | {summary(verdicts)} | {_refused_by(verdicts)} |" for name, verdicts in found.entries.items()),
    ]
    return "\n".join(lines) + "\n"


def _cells(counts: Counter[str]) -> str:
    return " | ".join(str(counts[outcome]) for outcome in OUTCOMES)


def _refused_by(found: list[Verdict]) -> str:
    operators = {re.split(r"[ :]", v.reason)[0] for v in found if v.outcome == "refused"}
    return ", ".join(f"`{o}`" for o in sorted(operators))


HEAD = """# Operators

How every operator of PyTorch's core opset is executed in an arithmetic, and what PyTorch's own sample inputs say of it.
Written by `python tests/aten/database/page.py` with PyTorch {version}; `make test` checks a fixed tenth of it, `make
test-long` the rest.

**{passing} of {core} core operators** (tag `torch.Tag.core`) that take or return floating tensors **pass: {share:.1f}
%**. The first {samples} samples of each of the {entries} entries of `op_db` and `module_db`, {total} in all: {passed}
passed, {left_out} left out, {refused} refused, {failed} failed.

- *defined*: an implementation in the arithmetic. *move*: raw values pass. *selection*: operands are rounded to the
  grid, then PyTorch compares them or selects among them. *decomposed*: PyTorch's own decomposition, or the plain form
  of what writes into `out`, into operators of these kinds. *refused*: raises, with a reason. *read*: by the host
  (`.item()`).
- A sample runs forward and backward in `LNS(6, 14)`, operands on the grid, and is compared with PyTorch's float32. The
  bound comes from the format and the condition of the sample: `tests/aten/database/bound.py` derives it. A core
  operator's samples are those that executed it; operators that no function of PyTorch reaches are called themselves.
- Samples are left out by the rules below: PyTorch itself raises, no floating point, half, complex or sparse numbers,
  NaN or infinity as an operand, a result or on the way, magnitudes beyond 2^60, and ill-conditioned ones, of which the
  bound would accept anything.
- Functions of one number are tables, correctly rounded for every code, checked exhaustively for formats of up to 16
  bits:
{functions}.
  Powers and exponentials of a constant are too, but for the exhaustive check; other functions are compositions.
"""


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAGE.write_text(written(survey()))
