"""Studies: many trainings over a space of arithmetics, recipes and settings, shared among workers. Needs
``slipstick[sweep]``."""

from slipstick.sweep.config import Study, load_study
from slipstick.sweep.front import best_first, front
from slipstick.sweep.progress import SweepProgress
from slipstick.sweep.space import Space
from slipstick.sweep.table import best_table, status_view, summary_line, write_csv
from slipstick.sweep.trials import TrialRecord, read_trials, total_trials
from slipstick.sweep.worker import open_study, sweep

__all__ = [
    "Space",
    "Study",
    "SweepProgress",
    "TrialRecord",
    "best_first",
    "best_table",
    "front",
    "load_study",
    "open_study",
    "read_trials",
    "status_view",
    "summary_line",
    "sweep",
    "total_trials",
    "write_csv",
]
