"""The training that an assignment is for: the experiment as it was probed, in those precisions."""

from slipstick.assign.answers import Answer, interruptible
from slipstick.assign.request import AssignmentRequest
from slipstick.assign.subjects import ExperimentSubject, Say, Subject
from slipstick.errors import SpecificationError
from slipstick.precision.assignment import Assignment
from slipstick.train import Experiment, Result, run_folder, train
from slipstick.train.config import ACCUMULATOR_SGD, SGD
from slipstick.train.interrupts import StopRequest
from slipstick.train.run_folder import check_folder, read_result


def assigned_experiment(experiment: Experiment, assignment: Assignment) -> Experiment:
    """The same with the assignment as its precision and ``AccumulatorSGD``, which is plain SGD, at the same lr."""
    check_optimizer(experiment)
    optimizer = {"name": ACCUMULATOR_SGD, "lr": experiment.optimizer.lr}
    return Experiment.model_validate(
        {**experiment.model_dump(), "precision": assignment.to_dict(), "optimizer": optimizer}
    )


def check_optimizer(experiment: Experiment) -> None:
    """Raises SpecificationError, saying what to set, where integer weights cannot move as the experiment's do."""
    given = experiment.optimizer
    if isinstance(given, SGD):
        changes = {"momentum": "0", "nesterov": "false", "weight_decay": "0"}
        sets = [f"--set optimizer.{key}={none}" for key, none in changes.items() if getattr(given, key)]
    else:
        sets = [f"--set 'optimizer={{name=\"sgd\", lr={given.lr:g}, momentum=0.0}}'"]
    if sets:
        raise SpecificationError(
            f"{experiment.name}: an assigned training is plain SGD, which the float32 one must be too, not "
            f"{given.name!r} as given; add {' '.join(sets)}, or --no-train"
        )


def to_be_trained(subject: Subject, request: AssignmentRequest, asked: bool | None) -> ExperimentSubject | None:
    """What is to be trained as assigned, if anything: by default what can be.

    asked: for training, against it, or nothing said. Raises SpecificationError where it was asked for and cannot be,
    and for an optimiser that has no counterpart in fixed point.
    """
    if asked is False:
        return None
    if isinstance(subject, ExperimentSubject) and request.can_be_trained:
        check_optimizer(subject.experiment)
        return subject
    if asked:
        what = "a program" if request.can_be_trained else f"format {request.format!r}"
        raise SpecificationError(
            f"--train: only an experiment with weights in fixed point is trained as assigned, not {what}"
        )
    return None


def train_assigned(
    subject: ExperimentSubject,
    found: Answer,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    stop: StopRequest | None = None,
    say: Say = lambda line: None,
) -> tuple[Experiment, Result]:
    """Train with the assignment, unless that is on disk: the run, and how it ended.

    Raises SpecificationError, or Interrupted: asked again, it goes on.
    """
    assignment = found.assignment
    if not isinstance(assignment, Assignment):
        raise SpecificationError(
            f"{found.file}: has weights in logarithmic formats; only those in fixed point are trained by assignment"
        )
    run = assigned_experiment(subject.experiment, assignment)
    folder = run_folder(run)
    state = check_folder(folder, run, resume=True, overwrite=overwrite)
    if state == "complete" and (result := read_result(folder)) is not None:
        say(f"training: the run as assigned is on disk, {folder}")
        return run, result
    say(f"training: {'goes on' if state == 'started' else 'the same'} as assigned, in {folder}")
    with interruptible(folder):
        return run, train(run, resume=True, overwrite=overwrite, quiet=quiet, stop=stop)
