"""Which numbers exist."""

from slipstick.formats.fixed_point import FixedPoint
from slipstick.formats.lns import LNS
from slipstick.formats.log_quant import LogQuant
from slipstick.formats.mini_float import E3M0, E4M3, E5M2, MiniFloat
from slipstick.formats.multi_base_lns import MultiBaseLNS
from slipstick.formats.quantiser import Quantiser
from slipstick.formats.scaled_lns import ScaledLNS

__all__ = [
    "E3M0",
    "E4M3",
    "E5M2",
    "LNS",
    "FixedPoint",
    "LogQuant",
    "MiniFloat",
    "MultiBaseLNS",
    "Quantiser",
    "ScaledLNS",
]
