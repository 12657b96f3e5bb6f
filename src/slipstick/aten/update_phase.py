"""When a weight update is going on: inside ``optimizer.step()``, but not in its closure."""

import sys
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


class UpdatePhase:
    """Depth of nested updates, and the optimisers that are stepping."""

    def __init__(
        self,
        after_step: Callable[[Optimizer], None] | None = None,
        has_one_pass: Callable[[Optimizer, dict[str, Any]], bool] | None = None,
    ) -> None:
        """``after_step``: called with every optimiser whose step has ended.

        ``has_one_pass``: whether PyTorch's fused form of an optimiser has a definition for a group of parameters.
        """
        self._after_step_of = after_step
        self._has_one_pass = has_one_pass
        self._depth = 0
        self._thread = threading.get_ident()
        self._steps: list[tuple[Optimizer, FrameType]] = []
        self._handles: list[Any] = []
        self._depth_before: list[int] = []
        self._counters: set[int] = set()
        self._fused: list[list[tuple[dict[str, Any], bool | None]]] = []
        self._has_said_unfused = False

    @property
    def active(self) -> bool:
        """Whether operators belong to an update. A step that an exception ended no longer counts."""
        if not self._depth:
            return False
        while self._depth and self._steps and not _is_running(self._steps[-1][1]):
            self._end_step()
        return self._depth > 0

    def enter(self) -> None:
        self._depth += 1

    def leave(self) -> None:
        self._depth -= 1

    def watch_optimizers(self) -> None:
        """Follow every optimiser's step in this thread, from now on."""
        self._thread = threading.get_ident()
        self._depth_before.append(self._depth)
        self._handles.append(
            (register_optimizer_step_pre_hook(self._before_step), register_optimizer_step_post_hook(self._after_step))
        )

    def unwatch_optimizers(self) -> None:
        """Stop following; a step that an exception ended is over."""
        for handle in self._handles.pop():
            handle.remove()
        self._depth = self._depth_before.pop()
        while self._steps:
            self._steps.pop()
            self._restore_forms()

    def is_step_counter(self, tensor: torch.Tensor) -> bool:
        """Whether ``tensor`` is the step count in a stepping optimiser's state, which counts exactly."""
        if tensor.dim() or not self._steps:
            return False
        if id(tensor) not in self._counters:
            states = self._steps[-1][0].state.values()
            self._counters = {id(s["step"]) for s in states if isinstance(s.get("step"), torch.Tensor)}
        return id(tensor) in self._counters

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if threading.get_ident() != self._thread:
            return None
        self.enter()
        self._steps.append((optimizer, sys._getframe(1)))
        has_closure = any(a is not None for a in (*args[1:2], kwargs.get("closure")))
        self._fused.append(self._choose_forms(optimizer, None if has_closure else self._has_one_pass))
        self._counters = set()
        args = tuple(self._outside_update(a) if i == 1 else a for i, a in enumerate(args))
        if "closure" in kwargs:
            kwargs = {**kwargs, "closure": self._outside_update(kwargs["closure"])}
        return args, kwargs

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        while self._steps and self._steps[-1][0] is not optimizer:
            self._end_step()
        if self._steps:
            self._end_step()
        else:
            self.leave()
        if self._after_step_of is not None:
            self._after_step_of(optimizer)

    def _end_step(self) -> None:
        self._steps.pop()
        self._restore_forms()
        self.leave()

    def _restore_forms(self) -> None:
        for group, fused in self._fused.pop():
            group["fused"] = fused

    def _choose_forms(
        self, optimizer: Optimizer, has_one_pass: Callable[[Optimizer, dict[str, Any]], bool] | None
    ) -> list[tuple[dict[str, Any], bool | None]]:
        """Let ``optimizer`` update in one pass where that has a definition, else one tensor after another, whose
        operators have; where it was told to be fused and is not, that is said once. Returns how groups were told."""
        told = [(g, g["fused"]) for g in optimizer.param_groups if g.get("fused", False) is not False]
        for group, fused in told:
            one_pass = has_one_pass is not None and has_one_pass(optimizer, group)
            group["fused"] = one_pass if fused else one_pass or None
        if any(fused and not group["fused"] for group, fused in told) and not self._has_said_unfused:
            self._has_said_unfused = True
            warnings.warn(
                f"{type(optimizer).__name__}(fused=True): updates one tensor after another inside ss.use",
                UserWarning,
                stacklevel=4,
            )
        return told

    def _outside_update(self, closure: Callable[[], Any] | None) -> Callable[[], Any] | None:
        """The closure evaluates the loss: it computes, it does not update."""
        if closure is None:
            return None

        def evaluate() -> Any:
            depth, self._depth = self._depth, 0
            try:
                return closure()
            finally:
                self._depth = depth

        return evaluate


def _is_running(frame: FrameType) -> bool:
    caller: FrameType | None = sys._getframe(1)
    while caller is not None:
        if caller is frame:
            return True
        caller = caller.f_back
    return False
