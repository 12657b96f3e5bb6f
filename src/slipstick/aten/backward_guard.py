"""A graph recorded in an arithmetic must not run backward outside of it, where it would compute in floating point."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from slipstick.errors import UnsupportedOperation

if TYPE_CHECKING:
    from slipstick.aten.mode import use

_HOST_READS = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})


class BackwardGuard(TorchFunctionMode):
    """Hooks the autograd node of every result that Python sees; also audits reads by the host."""

    def __init__(self, run: "use") -> None:
        super().__init__()
        self._run = run
        self._check = _node_check(run)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._run.is_live:
            return result
        if func in _HOST_READS and self._run.audit is not None:
            self._run.audit.record(f"Tensor.{func.__name__}", "outside")
        if isinstance(result, torch.Tensor):
            self._hook(result)
        elif isinstance(result, (tuple, list)):
            for item in tree_iter(result):
                if isinstance(item, torch.Tensor):
                    self._hook(item)
        return result

    def _hook(self, tensor: torch.Tensor) -> None:
        with torch._C.DisableTorchFunction():
            node = tensor.grad_fn
            if node is None:
                return
            metadata: Any = node.metadata
            if self._check not in metadata:
                metadata[self._check] = True
                node.register_prehook(self._check)


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
