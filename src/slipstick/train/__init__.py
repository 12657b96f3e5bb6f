"""Training: data, networks, the loop, checkpoints. Needs the packages of ``slipstick[train]``."""

from slipstick.train.compare import compare, comparison_folder
from slipstick.train.config import Comparison, Experiment
from slipstick.train.data import Data, load_data
from slipstick.train.experiment_files import load_comparison, load_experiment
from slipstick.train.interrupts import Interrupted
from slipstick.train.loop import train
from slipstick.train.naming import run_folder, run_label
from slipstick.train.run_folder import Result

__all__ = [
    "Comparison",
    "Data",
    "Experiment",
    "Interrupted",
    "Result",
    "compare",
    "comparison_folder",
    "load_comparison",
    "load_data",
    "load_experiment",
    "run_folder",
    "run_label",
    "train",
]
