"""From an experiment, or a program of the user's own, to its precision assignment. Needs ``slipstick[train]``."""

from slipstick.assign.answers import Answer, answer, explain
from slipstick.assign.assigned_training import assigned_experiment, to_be_trained, train_assigned
from slipstick.assign.measured_mismatch import measured_mismatch, to_be_measured
from slipstick.assign.probe_options import ProbeOptions
from slipstick.assign.request import AssignmentRequest
from slipstick.assign.subjects import ExperimentSubject, ProgramSubject, Subject

__all__ = [
    "Answer",
    "AssignmentRequest",
    "ExperimentSubject",
    "ProbeOptions",
    "ProgramSubject",
    "Subject",
    "answer",
    "assigned_experiment",
    "explain",
    "measured_mismatch",
    "to_be_measured",
    "to_be_trained",
    "train_assigned",
]
