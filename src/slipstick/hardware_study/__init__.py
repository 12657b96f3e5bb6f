"""What the hardware of an arithmetic costs: units proved, synthesised, measured and compared. Needs
``slipstick[hardware]``."""

from slipstick.hardware_study.config import HardwareStudy, load_study
from slipstick.hardware_study.results import StudyResult, UnitResult
from slipstick.hardware_study.study import run_study
from slipstick.hardware_study.tables import errors_table, networks_table, units_table

__all__ = [
    "HardwareStudy",
    "StudyResult",
    "UnitResult",
    "errors_table",
    "load_study",
    "networks_table",
    "run_study",
    "units_table",
]
