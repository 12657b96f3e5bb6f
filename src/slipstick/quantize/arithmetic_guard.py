"""Quantisers round around float32 operators. Inside ``ss.use`` there are none, so they refuse to run there.

An arithmetic in force is a dispatch mode on this thread's stack that has an ``arithmetic`` and is ``is_live``.
"""

from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from slipstick.errors import UnsupportedOperation


def refuse_inside_arithmetic(what: str) -> None:
    """Raise UnsupportedOperation where operators of this thread run in an arithmetic, here and now."""
    for mode in _get_current_dispatch_mode_stack():
        if getattr(mode, "is_live", False) and hasattr(mode, "arithmetic"):
            raise UnsupportedOperation(
                f"{what}: quantisers round float32 tensors and would run inside ss.use({mode.arithmetic}); "
                "leave the with block, or take them off with ss.dequantize(model)"
            )
