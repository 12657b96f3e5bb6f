"""Who called an operator, for error messages: the path of the innermost module whose forward is running."""

import sys
from types import FrameType

import torch

from slipstick.arithmetic import Arithmetic
from slipstick.errors import UnsupportedOperation


def caller() -> str:
    """ "called by encoder.layers.0 (Linear)", the path from the outermost module that is running."""
    running = _running_modules()
    if not running:
        return "called in the backward pass" if torch._C._current_graph_task_id() != -1 else "called outside a module"
    innermost, outermost = running[0], running[-1]
    path = next((name for name, module in outermost.named_modules() if module is innermost), "")
    kind = type(innermost).__name__
    return f"called by {path} ({kind})" if path else f"called by {kind}"


def with_caller(refusal: UnsupportedOperation, arithmetic: Arithmetic) -> UnsupportedOperation:
    """``refusal`` with the caller and the arithmetic, once, where its message names the operator."""
    text = str(refusal)
    if "(called " in text:
        return refusal
    operator, separator, reason = text.partition(": ")
    where = "" if str(arithmetic) in reason else f" in {arithmetic}"
    return type(refusal)(f"{operator} ({caller()}){where}{separator}{reason}")


def _running_modules() -> list[torch.nn.Module]:
    """The modules whose forward is running, innermost first."""
    found: list[torch.nn.Module] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module) and frame.f_code.co_name == "forward":
            found.append(owner)
        frame = frame.f_back
    return found
