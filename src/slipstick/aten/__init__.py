"""PyTorch runs in an arithmetic: the mode, and the operator tables by family."""

from slipstick.aten import dropout, foreach, moves, normalisation, pointwise, pooling, products, reductions, softmax  # noqa: F401
from slipstick.aten.audit import Audit
from slipstick.aten.mode import exact, update_phase, use
from slipstick.aten.recording import DistanceRecorder
from slipstick.aten.state import codes, snap_

__all__ = ["Audit", "DistanceRecorder", "codes", "exact", "snap_", "update_phase", "use"]
