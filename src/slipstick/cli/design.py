"""``slipstick design``: an adder for a bit-width, beside the optimum and the published ones."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from slipstick.arithmetic import IndexForm
from slipstick.arithmetic.adders import Adder, PiecewiseLinear
from slipstick.arithmetic.design_file import DESIGN_SUFFIX
from slipstick.arithmetic.published import named_adder
from slipstick.cli.stage_bar import stage_bar
from slipstick.design.annealing import Prices, Schedule
from slipstick.design.evaluation import Evaluation, evaluate
from slipstick.design.logic_tables import LogicSearch
from slipstick.design.records import design_record
from slipstick.design.request import DesignRequest
from slipstick.design.search import Designer
from slipstick.design.shipped import unconstrained_adder
from slipstick.design.target import TableErrors
from slipstick.design.weights import REGIMES
from slipstick.errors import SpecificationError
from slipstick.formats import LNS
from slipstick.train.atomic_files import write_json
from slipstick.train.interrupts import Interrupted

_DEFAULT = DesignRequest(5)
_SCHEDULE, _PRICES, _LOGIC = Schedule(), Prices(), LogicSearch()
_NO_NUMBER = 1e6  # a table that cancels has an error of 2^30 there
PICTURE_SUFFIXES = (".png", ".pdf", ".svg")

Search = Annotated[str, typer.Option(help="optimal (exact) or anneal; or logic: tables of any values, least logic.")]
Price = typer.Option(help="LSB^2 of mean square error paid for one (annealing).")


def design(
    frac_bits: Annotated[int, typer.Option(help="F of the format LNS(I,F), 1 to 12.")],
    form: Annotated[str, typer.Option(help="piecewise-linear, indexed-table or table.")] = _DEFAULT.form,
    search: Search = _DEFAULT.search,
    segments: Annotated[int, typer.Option(help="Segments of each function.")] = _DEFAULT.segments,
    index_bits: Annotated[int, typer.Option(help="Of an indexed table: 6, 7 or 8.")] = _DEFAULT.index_bits,
    entries: Annotated[int, typer.Option(help="Of a uniform table.")] = _DEFAULT.entries,
    weights: Annotated[
        str, typer.Option(metavar="W", help=f"uniform, {', '.join(REGIMES)}, or a run folder with distances.json.")
    ] = _DEFAULT.weights,
    zero_bias: Annotated[bool, typer.Option(help="Bring the mean error to zero.")] = True,
    exact_through: Annotated[
        int, typer.Option(help="D-(1) to D-(this) and D+(0) correctly rounded; 0: D+(0); -1: none.")
    ] = _DEFAULT.exact_through,
    symmetric: Annotated[bool, typer.Option(help="D+ and D- end at one distance.")] = True,
    swamping: Annotated[
        float | None, typer.Option(help="The smallest |u|/|w| that still moves a weight, both ways, e.g. 0.004.")
    ] = None,
    bound_bits: Annotated[
        int | None, typer.Option(help="Significant bits of bounds; 0: free. Default: free up to F = 6, then 7.")
    ] = None,
    exponents: Annotated[str | None, typer.Option(metavar="E,E,...", help="Slopes 2^E to use.")] = None,
    index: Annotated[
        str | None,
        typer.Option(
            metavar="SHIFT,BASE,TOP",
            help="Constant on classes min(d, BASE + (d >> SHIFT), TOP); of an indexed table: its index.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help=f"Proposals per chain (annealing: {_SCHEDULE.steps:,}) or in all (logic: {_LOGIC.steps:,})."),
    ] = None,
    chains: Annotated[int, typer.Option(help="Restarts side by side (annealing).")] = _SCHEDULE.chains,
    hottest: Annotated[float, typer.Option(help="First temperature, LSB^2.")] = _SCHEDULE.hottest,
    coldest: Annotated[float, typer.Option(help="Last temperature, LSB^2.")] = _SCHEDULE.coldest,
    seed: Annotated[int, typer.Option(help="Of the annealing, or of logic.")] = _SCHEDULE.seed,
    price_bias: Annotated[float, Price] = _PRICES.bias,
    price_segment: Annotated[float, Price] = _PRICES.segment,
    price_shift: Annotated[float, Price] = _PRICES.shift,
    price_comparator_bit: Annotated[float, Price] = _PRICES.comparator_bit,
    like: Annotated[
        str, typer.Option(metavar="NAME", help="Adder or design file with the errors allowed (logic).")
    ] = _LOGIC.like,
    end: Annotated[
        int | None, typer.Option(help="The last d with a value other than 0 (logic). Default: where --like ends.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="The design file.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The picture; default: beside it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted annealing.")] = False,
) -> None:
    """Design the adder of a bit-width: errors beside the optimum and the published ones, a JSON file and a picture."""
    request = DesignRequest(
        frac_bits,
        form=form,  # type: ignore[arg-type]
        search=search,  # type: ignore[arg-type]
        segments=segments,
        index_bits=index_bits,
        entries=entries,
        weights=weights,
        zero_bias=zero_bias,
        exact_through=exact_through,
        symmetric=symmetric,
        swamping=swamping,
        bound_bits=bound_bits,
        exponents=None if exponents is None else tuple(_integers("--exponents", exponents)),
        index=None if index is None else IndexForm(*_integers("--index", index, 3)),
        schedule=Schedule(
            _SCHEDULE.steps if steps is None or search == "logic" else steps, chains, hottest, coldest, seed
        ),
        prices=Prices(price_bias, price_segment, price_shift, price_comparator_bit),
        logic=LogicSearch(_LOGIC.steps if steps is None else steps, seed, like, end),
    )
    file = out or Path(f"design-F{frac_bits}-{_size(request)}.json")
    picture = plot or file.with_suffix(".png")
    _check_name(file, (DESIGN_SUFFIX,))
    _check_name(picture, PICTURE_SUFFIXES)
    adder = _search(request, file, resume)
    _print_tables(request, adder)
    try:
        write_json(file, design_record(request, adder))
        _draw(picture, request, adder)
    except OSError as error:
        raise SpecificationError(f"{error.filename or file}: cannot be written: {error.strerror}") from None
    print(f"design: {file}   picture: {picture}")
    print(f'use it: slipstick compare --arithmetic "LNS(5,{frac_bits}) {file}"')


def _check_name(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise SpecificationError(f"{path}: its name must end in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise SpecificationError(f"{path}: its folder does not exist; make it first")


def _integers(option: str, text: str, count: int | None = None) -> list[int]:
    try:
        values = [int(word) for word in text.split(",")]
    except ValueError:
        raise SpecificationError(f"{option} {text!r}: write integers with commas between") from None
    if count is not None and len(values) != count:
        raise SpecificationError(f"{option} {text!r}: write {count} integers with commas between")
    return values


def _size(request: DesignRequest) -> str:
    if request.search == "logic":
        return "logic"
    return {
        "piecewise-linear": f"{request.segments}-segments",
        "indexed-table": f"{request.index_bits}-bit-index",
        "table": f"{request.entries}-entries",
    }[request.form]


def _search(request: DesignRequest, file: Path, resume: bool) -> Adder:
    """Run the search; an annealing keeps its state beside the design file until it has ended."""
    started = file.with_suffix(".annealing.json")
    state = _started(started, request) if resume else None

    def save(progress: dict[str, Any]) -> None:
        write_json(started, {"request": request.to_dict(), "state": progress})

    try:
        with stage_bar() as show:
            adder = Designer(request, show, state, save).run()
    except KeyboardInterrupt:
        if not started.exists():
            raise
        raise Interrupted(f"{started}: annealing stopped", signal.SIGINT) from None
    started.unlink(missing_ok=True)
    return adder


def _started(path: Path, request: DesignRequest) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text())
    except FileNotFoundError:
        raise SpecificationError(f"{path}: there is no interrupted annealing to resume; leave --resume out") from None
    except (OSError, ValueError) as error:
        raise SpecificationError(f"{path}: cannot be read ({error}); delete it to start anew") from None
    if not isinstance(saved, dict) or not isinstance(saved.get("state"), dict):
        raise SpecificationError(f"{path}: is no started annealing; delete it to start anew")
    if saved.get("request") != json.loads(json.dumps(request.to_dict())):
        raise SpecificationError(f"{path}: belongs to another request; delete it to start anew")
    state: dict[str, Any] = saved["state"]
    return state


def _print_tables(request: DesignRequest, adder: Adder) -> None:
    errors = Table("LSB, all d alike", "D+ RMS", "bias", "max", "D- RMS", "bias", "max", box=SIMPLE_HEAD)
    other = Table("", "D-(1..4)", "moves w from", "noise", "segments", "instr.", box=SIMPLE_HEAD)
    rows = []
    with Console(stderr=True).status("comparing"):
        for name, one, width in _neighbours(request, adder):
            weights = request.objective_weights() if width == request.frac_bits else None
            rows.append((name, evaluate(one, width, weights)))
    for name, evaluation in rows:
        errors.add_row(name, *_errors(evaluation.plus), *_errors(evaluation.minus))
        other.add_row(name, *_properties(evaluation))
    console = Console()
    console.print(f"adders for F = {request.frac_bits}", style="bold")
    console.print(errors)
    console.print(other)
    print("D-(1..4): largest error there. moves w from: the smallest |u|/|w| that changes w, up and down.")
    print("noise: of sums of 4,096 products. instr.: of a vector kernel per 64 terms; gather: no fast one.")
    if request.weights != "uniform":
        own = rows[0][1]
        weighted = zip(("D+", "D-"), (own.weighted_plus, own.weighted_minus), strict=True)
        print(
            f"weighted by {request.weights}: "
            + ", ".join(f"{s} RMS {e.rms:.3f} bias {e.bias:+.3f}" for s, e in weighted)
        )


def _neighbours(request: DesignRequest, adder: Adder) -> Iterator[tuple[str, Adder, int]]:
    """The design, what bounds it from below, and the named adders of its width or the nearest."""
    frac_bits = request.frac_bits
    yield "this design", adder, frac_bits
    if isinstance(adder, PiecewiseLinear):
        coarse = request.comparator_bits()
        for segments in dict.fromkeys((request.segments, 16)):
            yield f"optimum, {segments} segments", unconstrained_adder(frac_bits, segments, coarse), frac_bits
    yield "exact, rounded", named_adder("exact", LNS(5, frac_bits)), frac_bits
    for name in ("designed", "hamad2025", "sanyal2019-lut"):
        for width in _nearest_widths(name, frac_bits):
            yield name if width == frac_bits else f"{name}, F = {width}", named_adder(name, LNS(5, width)), width


def _nearest_widths(name: str, frac_bits: int) -> list[int]:
    """The width itself where ``name`` exists for it, else the nearest on both sides."""
    exists = []
    for width in range(1, 13):
        try:
            named_adder(name, LNS(5, width)).tables(LNS(5, width))
            exists.append(width)
        except SpecificationError:
            continue
    if frac_bits in exists:
        return [frac_bits]
    below, above = [w for w in exists if w < frac_bits], [w for w in exists if w > frac_bits]
    return below[-1:] + above[:1]


def _errors(errors: TableErrors) -> list[str]:
    if errors.max > _NO_NUMBER:
        return ["cancels", "-", "-"]
    return [f"{errors.rms:.3f}", f"{errors.bias:+.3f}", f"{errors.max:.1f}"]


def _properties(evaluation: Evaluation) -> list[str]:
    worst = max(map(abs, evaluation.near))
    near = f"{worst:.1f}" if worst < _NO_NUMBER else "cancels"
    up, down = (f"{100 * ratio:.2g}%" for ratio in (evaluation.swamping_up, evaluation.swamping_down))
    cost = evaluation.cost
    instructions = str(cost.instructions or "gather")
    return [near, f"{up} {down}", f"{100 * evaluation.noise:.1f}%", str(cost.segments or "-"), instructions]


def _draw(picture: Path, request: DesignRequest, adder: Adder) -> None:
    from slipstick.design.figure import save_figure

    widths = _nearest_widths("hamad2025", request.frac_bits)
    published = named_adder("hamad2025", LNS(5, widths[0])) if widths == [request.frac_bits] else None
    other = None if published is None else ("published (Hamad et al. 2025)", published)
    title = f"{adder}" + ("" if request.weights == "uniform" else f", weighted by {request.weights}")
    save_figure(picture, adder, request.frac_bits, title, other)
