"""The mismatch that an assignment predicts, and that of its float32 network rounded so, on the test data."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from slipstick.assign.answers import Answer, interruptible
from slipstick.assign.request import FIXED, AssignmentRequest
from slipstick.assign.subjects import ExperimentSubject, Say, Subject
from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment
from slipstick.precision.mismatch import Mismatch, mismatches
from slipstick.train import load_data, run_folder
from slipstick.train.atomic_files import write_json
from slipstick.train.checkpoints import read_model_state
from slipstick.train.models import build_model
from slipstick.train.progress import progress_bar

FILE_NAME = "mismatch.json"

MORE_BITS = 2
"""The most that is added to B_min; from there down to a B_min of 1."""

_BATCH = 250


def to_be_measured(subject: Subject, request: AssignmentRequest, asked: bool) -> ExperimentSubject | None:
    """Whose mismatch is to be measured, if any.

    Raises SpecificationError where it was asked of a program, which has no test data, or of another format than fixed
    point.
    """
    if not asked:
        return None
    if isinstance(subject, ExperimentSubject) and request.format == FIXED:
        return subject
    what = "a program" if request.format == FIXED else f"format {request.format!r}"
    raise SpecificationError(f"--mismatch: is measured of an experiment in fixed point, not of {what}; leave it out")


def measured_mismatch(
    subject: ExperimentSubject, found: Answer, *, quiet: bool = False, say: Say = lambda line: None
) -> list[Mismatch]:
    """Of an assignment in fixed point, on the experiment's test data; mismatch.json beside it has the rows too."""
    assignment = found.assignment
    assert isinstance(assignment, Assignment)
    experiment = subject.probed
    data = load_data(experiment)
    offsets = range(1 - assignment.minimum_bits, MORE_BITS + 1)
    say(f"mismatch: the float32 network rounded, {len(offsets)} levels of B_min, {data.test_samples} test samples")
    model = build_model(experiment.model, data.shape, data.classes)
    model.load_state_dict(read_model_state(run_folder(experiment))[0])
    bar: AbstractContextManager[Callable[[int], None]] = nullcontext(lambda _: None)
    if not quiet:
        bar = progress_bar("mismatch", (len(offsets) + 1) * data.test_samples)
    with interruptible(found.folder), bar as done:
        rows = mismatches(model, assignment, data.test_batches(_BATCH), offsets, done)
    write_json(found.folder / FILE_NAME, [row.to_dict() for row in rows])
    return rows
