"""Arithmetics of single modules: which one is in force while a module runs, forward and backward.

Forward, hooks on all modules tell which one is running. Backward, a node of autograd's graph was made by the module
that ran at its sequence number, so the numbers are kept at which the arithmetic in force has changed.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from slipstick.errors import SpecificationError
from slipstick.kernels.spec import KernelSpec

_CHANGES_KEPT = 1 << 20
"""Changes of arithmetic in graphs that may still run backward; older ones are forgotten."""

_next_number = torch._C._autograd._get_sequence_nr
_running_node = torch._C._current_autograd_node


class ModuleArithmetics:
    """specs: of each module, or by its dotted name from the module that is called first; the innermost one counts."""

    def __init__(
        self, specs: Mapping[str | nn.Module, KernelSpec], base: KernelSpec, is_live: Callable[[], bool] = lambda: True
    ) -> None:
        """is_live: whether the arithmetic is in force here and now; modules called elsewhere are none of its own."""
        self._by_name = {key: spec for key, spec in specs.items() if isinstance(key, str)}
        self._of = {module: spec for module, spec in specs.items() if isinstance(module, nn.Module)}
        self._base = base
        self._is_live = is_live
        self._named = not self._by_name
        self._thread = threading.get_ident()
        self._calls: list[tuple[KernelSpec, int, Any]] = []
        self._starts: list[int] = []
        self._made: list[KernelSpec] = []
        self._handles: list[Any] = []

    @property
    def spec(self) -> KernelSpec:
        """The one in force."""
        node = _running_node()
        if self._calls and (node is None or self._calls[-1][2] is node):
            return self._calls[-1][0]
        if node is None or not self._starts:
            return self._base
        place = bisect_right(self._starts, node._sequence_nr()) - 1
        return self._made[place] if place >= 0 else self._base

    def watch(self) -> None:
        """Follow every module's call in this thread, from now on."""
        self._thread = threading.get_ident()
        self._handles.append(
            (
                register_module_forward_pre_hook(self._before),
                register_module_forward_hook(self._after, always_call=True),
            )
        )

    def unwatch(self) -> None:
        for handle in self._handles.pop():
            handle.remove()
        self._calls.clear()

    def _before(self, module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() != self._thread or not self._is_live():
            return
        if not self._named:
            self._name(module)
        outer = self._calls[-1][0] if self._calls else self._base
        spec = self._of.get(module, outer)
        self._calls.append((spec, _next_number(), _running_node()))
        self._mark(spec)

    def _after(self, module: nn.Module, inputs: Any, result: Any) -> None:
        if threading.get_ident() != self._thread or not self._calls or not self._is_live():
            return
        self._calls.pop()
        self._mark(self._calls[-1][0] if self._calls else self._base)

    def _mark(self, spec: KernelSpec) -> None:
        """Nodes from here on are of ``spec``."""
        if (self._made[-1] if self._made else self._base) is spec:
            return
        number = _next_number()
        if self._starts and self._starts[-1] == number:
            self._made[-1] = spec
        else:
            self._starts.append(number)
            self._made.append(spec)
        if len(self._starts) > _CHANGES_KEPT:
            del self._starts[: _CHANGES_KEPT // 2], self._made[: _CHANGES_KEPT // 2]

    def _name(self, root: nn.Module) -> None:
        """Find the named modules in the one that is called first."""
        modules = dict(root.named_modules())
        for name, spec in self._by_name.items():
            if name not in modules:
                raise SpecificationError(
                    f"override {name!r}: no module of {type(root).__name__}, which is called first; its modules are "
                    f"{', '.join(sorted(filter(None, modules)))[:200]}"
                )
            self._of.setdefault(modules[name], spec)
        self._named = True
