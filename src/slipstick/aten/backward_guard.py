"""A graph recorded in an arithmetic must not run backward outside of it, where it would compute in floating point."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import Function
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from slipstick.aten.fused import is_fused, unfused
from slipstick.errors import UnsupportedOperation

if TYPE_CHECKING:
    from slipstick.aten.mode import use

_HOST_READS = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})

_is_grad_enabled = torch._C.is_grad_enabled  # where gradients are off nothing is recorded
_plain_apply = Function.__dict__["apply"]
_guards = 0
_guards_lock = threading.Lock()


class BackwardGuard(TorchFunctionMode):
    """Hooks the autograd node of every result that Python sees; also audits reads by the host."""

    def __init__(self, run: "use") -> None:
        super().__init__()
        self._run = run
        self._check = _node_check(run)

    def __enter__(self) -> "BackwardGuard":
        _guard_custom_functions(1)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        _guard_custom_functions(-1)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        run = self._run
        if not run.is_live:
            return func(*args, **(kwargs or {}))
        if is_fused(func):
            func = unfused(func)
        result = func(*args, **kwargs) if kwargs else func(*args)
        if run.audit is not None and func in _HOST_READS:
            run.audit.record(f"Tensor.{func.__name__}", "outside")
        if _is_grad_enabled():
            self.hook(result)
        return result

    def hook(self, result: Any) -> None:
        """Make the nodes of ``result``'s tensors refuse to run outside of this arithmetic."""
        if isinstance(result, torch.Tensor):
            if result.requires_grad:
                self._hook_tensor(result)
        elif isinstance(result, (tuple, list)):
            for item in tree_iter(result):
                if isinstance(item, torch.Tensor):
                    self._hook_tensor(item)

    def _hook_tensor(self, tensor: torch.Tensor) -> None:
        node = _node_of(tensor)
        if node is None:
            return
        metadata: Any = node.metadata
        if self._check not in metadata:
            metadata[self._check] = True
            node.register_prehook(self._check)


def _node_of(tensor: torch.Tensor) -> Node | None:
    if type(tensor) is torch.Tensor:
        return tensor.grad_fn
    with torch._C.DisableTorchFunction():  # whose subclass may compute what it is asked for
        return tensor.grad_fn


def _node_check(run: "use") -> Callable[[Any], None]:
    from slipstick.aten.mode import live_run  # the mode owns its guard, so the import goes the other way round

    arithmetic = run.arithmetic

    def check(gradients: Any) -> None:
        running = live_run()
        if running is None or running.arithmetic != arithmetic:
            where = "outside of ss.use" if running is None else f"inside ss.use({running.arithmetic})"
            raise UnsupportedOperation(
                f"backward() {where} of a graph recorded in {arithmetic}: "
                "call backward() inside the same `with ss.use(...)` block"
            )

    return check


def _guard_custom_functions(change: int) -> None:
    """While a run is entered, results of ``torch.autograd.Function.apply`` are hooked too: no mode sees them."""
    global _guards
    with _guards_lock:
        _guards += change
        wanted = classmethod(_guarded_apply) if _guards else _plain_apply
        if (Function.__dict__["apply"] is _plain_apply) == bool(_guards):
            Function.apply = wanted  # type: ignore[method-assign, assignment]


def _guarded_apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
    from slipstick.aten.mode import live_run

    result = _plain_apply.__func__(cls, *args, **kwargs)
    run = live_run()
    if run is not None:
        run.guard.hook(result)
    return result
