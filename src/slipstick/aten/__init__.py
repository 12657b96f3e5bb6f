"""PyTorch runs in an arithmetic: the mode, and the operator tables by family."""

from slipstick.aten import (  # noqa: F401
    activations,
    attention,
    collectives,
    distances,
    dropout,
    embedding_bags,
    foreach,
    group_normalisation,
    losses,
    moves,
    normalisation,
    planar,
    pointwise,
    pooling,
    powers,
    prefixes,
    products,
    reductions,
    refusals,
    remainders,
    sampling,
    scatter_operators,
    softmax,
    unary,
    weight_norm,
)
from slipstick.aten.audit import Audit
from slipstick.aten.mode import exact, update_phase, use
from slipstick.aten.recording import DistanceRecorder
from slipstick.aten.registry import defined
from slipstick.aten.state import codes, snap_
from slipstick.kernels.elementwise import chain

__all__ = ["Audit", "DistanceRecorder", "chain", "codes", "defined", "exact", "snap_", "update_phase", "use"]
