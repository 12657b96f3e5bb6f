"""The answer to a request, and the folder that keeps it.

FOLDER/assignments/NAME, NAME that of the request:

assignment.json  precisions and reasons, what ``precision = `` of an experiment takes
assignment.png   bits, layer by layer
cost.json        of the assignment and the designs beside it
question.json    written last: what was asked, of which model, from which statistics
"""

import hashlib
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from slipstick.assign.probe_options import ProbeOptions
from slipstick.assign.request import AssignmentRequest
from slipstick.assign.run_control import RunControl
from slipstick.assign.subjects import Say, Subject
from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment
from slipstick.precision.cost import (
    Cost,
    binarised,
    cost,
    fixed_point,
    float32,
    logarithmic,
    ternary_gradients,
    uniform,
)
from slipstick.precision.criteria import clipped_target
from slipstick.precision.lns import LNSAssignment
from slipstick.precision.statistics import Statistics
from slipstick.train.atomic_files import write_json
from slipstick.train.interrupts import Interrupted, StopRequest

ASSIGNMENT, FIGURE, COST, _QUESTION = "assignment.json", "assignment.png", "cost.json", "question.json"


@dataclass(frozen=True)
class Answer:
    """folder: of the files above. costs: of one sample's step, float32 first."""

    folder: Path
    assignment: Assignment | LNSAssignment
    costs: tuple[Cost, ...]

    @property
    def file(self) -> Path:
        return self.folder / ASSIGNMENT

    @property
    def figure(self) -> Path:
        return self.folder / FIGURE


def answer(
    subject: Subject,
    request: AssignmentRequest,
    options: ProbeOptions | None = None,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    stop: StopRequest | None = None,
    say: Say = lambda line: None,
) -> Answer:
    """Probe what is not on disk yet and assign. say: told what each stage does.

    Raises SpecificationError as the stages do, and where the folder holds the assignment of another model; Interrupted
    when stopped: asked again, it goes on.
    """
    folder = _folder(subject, request)
    if not overwrite:
        subject.check()
        _check_model(folder, subject)
    with interruptible(subject.folder):
        control = RunControl(resume=True, overwrite=overwrite, quiet=quiet, stop=stop)
        found = subject.statistics(options or ProbeOptions(), control, say)
        statistics = replace(found, model=subject.title)
        question = _question(subject, request, statistics)
        if not overwrite and _read(folder / _QUESTION) == question:
            say(f"assignment: is on disk, {folder / ASSIGNMENT}")
            assignment = _assignment(folder, request)
        else:
            say(f"assignment: {request.describe()}, into {folder}")
            assignment = request.assign(statistics)
            _warn_of_clipping(statistics, request, say)
            _write(folder, question, assignment, _costs(statistics, assignment))
    return Answer(folder, assignment, _costs(statistics, assignment))


def _warn_of_clipping(statistics: Statistics, request: AssignmentRequest, say: Say) -> None:
    classes = statistics.layers[-1].output_shape[-1]
    if (sigmas := clipped_target(classes, request.criteria_constants)) is not None:
        say(
            f"warning: the gradient of {classes} logits reaches {sigmas:.1f} sigma, which the constants clip; "
            "use --constants released"
        )


def explain(subject: Subject, request: AssignmentRequest, tensor: str) -> str:
    """What set the precision of a tensor, "layer.weight", or of a layer's five, from the assignment on disk.

    Raises SpecificationError where there is none, where it is of another model, and for a name that does not exist.
    """
    folder = _folder(subject, request)
    subject.check()
    _check_model(folder, subject)
    if _read(folder / _QUESTION) is None:
        others = sorted(path.parent.name for path in folder.parent.glob(f"*/{_QUESTION}"))
        there = f" (there is {', '.join(others)})" if others else ""
        raise SpecificationError(f"{folder}: holds no assignment{there}; assign first, without --explain")
    return _assignment(folder, request).explain(tensor)


def _folder(subject: Subject, request: AssignmentRequest) -> Path:
    return subject.folder / "assignments" / request.name


def _check_model(folder: Path, subject: Subject) -> None:
    saved = _read(folder / _QUESTION)
    facts = _plain(subject.facts)
    if saved is not None and saved.get("of") != facts:
        raise SpecificationError(
            f"{folder}: holds the assignment of another model, {json.dumps(saved.get('of'))}, not {json.dumps(facts)}; "
            "use --overwrite, or another --out or name"
        )


def _question(subject: Subject, request: AssignmentRequest, statistics: Statistics) -> dict[str, Any]:
    numbers = json.dumps(statistics.to_dict(), sort_keys=True).encode()
    asked = {"of": subject.facts, "request": asdict(request), "statistics_sha256": hashlib.sha256(numbers).hexdigest()}
    return _plain(asked)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    read: dict[str, Any] = json.loads(json.dumps(data))
    return read


def _read(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where there is none. Raises SpecificationError for a damaged one."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SpecificationError(f"{path}: cannot be read ({reason}); delete it to assign again") from None


def _assignment(folder: Path, request: AssignmentRequest) -> Assignment | LNSAssignment:
    path = folder / ASSIGNMENT
    saved = _read(path)
    if saved is None:
        raise SpecificationError(f"{path}: is missing; delete {folder / _QUESTION} to assign again")
    return request.read(saved)


def _costs(statistics: Statistics, assignment: Assignment | LNSAssignment) -> tuple[Cost, ...]:
    assigned = logarithmic(assignment) if isinstance(assignment, LNSAssignment) else fixed_point(assignment)
    designs = (float32(), assigned, uniform(8), uniform(16), binarised(), ternary_gradients())
    return tuple(cost(statistics, design) for design in designs)


def _write(
    folder: Path, question: dict[str, Any], assignment: Assignment | LNSAssignment, costs: tuple[Cost, ...]
) -> None:
    from slipstick.precision.figure import save_figure

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _QUESTION).unlink(missing_ok=True)
        write_json(folder / ASSIGNMENT, assignment.to_dict())
        save_figure(folder / FIGURE, assignment)
        write_json(folder / COST, [each.to_dict() for each in costs])
        write_json(folder / _QUESTION, question)
    except OSError as error:
        where = error.filename or folder
        raise SpecificationError(f"{where}: cannot be written: {error.strerror}; choose another --out") from None


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Ctrl-C where no training loop listens ends as within one: with Interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"{folder}: stopped", signal.SIGINT) from None
