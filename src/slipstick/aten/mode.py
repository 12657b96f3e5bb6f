"""PyTorch runs in an arithmetic: one dispatch mode below autograd that looks every operator up in the registry."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from os import register_at_fork
from types import TracebackType
from typing import Any, NoReturn

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_any, tree_map

from slipstick.arithmetic import Arithmetic, LogArithmetic, RoundedArithmetic
from slipstick.arithmetic.distances import Phase
from slipstick.aten.audit import Audit
from slipstick.aten.backward_guard import BackwardGuard
from slipstick.aten.caller import with_caller
from slipstick.aten.compiler import not_compiled
from slipstick.aten.decomposition import decomposed
from slipstick.aten.integers import makes_floats
from slipstick.aten.module_arithmetics import ModuleArithmetics
from slipstick.aten.one_pass_sgd import has_one_pass
from slipstick.aten.recording import DistanceRecorder
from slipstick.aten.registry import DEFINED, MOVES, REFUSED, SELECTIONS
from slipstick.aten.rounded import run_rounded
from slipstick.aten.signatures import Operand
from slipstick.aten.stochastic_weights import StochasticWeights
from slipstick.aten.update_phase import UpdatePhase
from slipstick.errors import SpecificationError, UnsupportedOperation
from slipstick.kernels.carriers import CODELESS, CODES, USE_A_CARRIER, floats_among
from slipstick.kernels.elementwise import Chain, CodeArray, identity
from slipstick.kernels.observation import observing
from slipstick.kernels.spec import KernelSpec, check_narrowing, kernel_spec

_SILENT_NAMESPACES = frozenset({"profiler"})
_WAY_OUT = (
    "define it (docs/extending.md), rewrite it with supported operators, "
    "or compute it inside ss.exact() if it is not part of training"
)


class use(TorchDispatchMode):  # noqa: N801 (a context manager reads as a verb)
    """Run the PyTorch code inside the ``with`` block in ``arithmetic``.

    arithmetic: a LogArithmetic, or a RoundedArithmetic baseline.
    update: a wider LogArithmetic for ``optimizer.step()`` and the running statistics of normalisation; weights and
        optimiser state then live on its finer grid, and every operand elsewhere is narrowed from it.
    audit: count every operator by how it was executed, and its time, in ``.audit``.
    record: measures the distances of log additions; see ``slipstick.aten.recording``. It changes no bits.
    override: LogArithmetics of single modules, which run in them forward and backward: by module, or by its dotted name
        from the module that is called first. The innermost one counts. Formats other than that of ``arithmetic`` need
        ``update``, on whose grid all weights then live. Gradients that meet are added in the arithmetic of the module
        whose gradient came last.
    stochastic: with ``update``, a generator. After every ``optimizer.step()`` its weights are rounded to the format of
        ``arithmetic``, up or down at random, see ``slipstick.aten.stochastic_weights``; the optimiser's state stays on
        the grid of ``update``. What is random is drawn from the generator alone, whose state is the caller's to keep.

    Raises UnsupportedOperation for an operator without a definition, NonFiniteError for NaN.
    """

    def __init__(
        self,
        arithmetic: Arithmetic,
        update: Arithmetic | None = None,
        audit: bool = False,
        record: DistanceRecorder | None = None,
        override: Mapping[Any, LogArithmetic] | None = None,
        stochastic: torch.Generator | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(arithmetic, LogArithmetic | RoundedArithmetic):
            raise SpecificationError(f"use({arithmetic!r}): must be a LogArithmetic or a RoundedArithmetic")
        self.arithmetic = arithmetic
        self.update = update
        self.audit = Audit() if audit else None
        self.operator = ""
        self._outside = 0
        self._suspended = 0
        self._before: list[tuple[int, int]] = []
        self._specs = self._make_specs()
        if stochastic is not None and override:
            raise SpecificationError("use(stochastic=..., override=...): weights are rounded to one format; drop one")
        self._phase = UpdatePhase(
            None if stochastic is None else self._make_weights(stochastic).round_,
            has_one_pass if isinstance(arithmetic, LogArithmetic) else None,
        )
        self.guard = BackwardGuard(self)
        self._modules = self._make_modules(override) if override else None
        if record is not None and self._specs is None:
            raise SpecificationError(f"use({arithmetic}, record=...): a rounded baseline has no log additions")
        self._observer = None if record is None else record.observer(self._phase_of)
        self._is_plain = self._specs is not None and not audit and record is None  # nobody counts or looks on

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would wrap the mode so that its compiler leaves it alone, and import the compiler for that: seconds,
        at the first operator. ``not_compiled`` does the same without."""
        return False

    def _make_specs(self) -> tuple[KernelSpec, KernelSpec] | None:
        if isinstance(self.arithmetic, RoundedArithmetic):
            if self.update is not None:
                raise SpecificationError("use(RoundedArithmetic, update=...): a rounded baseline has one format")
            return None
        if self.update is None:
            spec = kernel_spec(self.arithmetic)
            return spec, replace(spec)  # two objects, so that a kernel's tables tell what they compute
        if not isinstance(self.update, LogArithmetic):
            raise SpecificationError(f"use(update={self.update!r}): must be a LogArithmetic")
        check_narrowing(self.arithmetic.format, self.update.format)
        return kernel_spec(self.arithmetic, self.update.format), kernel_spec(self.update)

    def _make_weights(self, generator: torch.Generator) -> StochasticWeights:
        if not isinstance(self.arithmetic, LogArithmetic) or not isinstance(self.update, LogArithmetic):
            raise SpecificationError(f"use({self.arithmetic}, stochastic=...): needs update=, a finer LogArithmetic")
        return StochasticWeights(self.arithmetic, self.update, generator)

    def _make_modules(self, override: Mapping[Any, LogArithmetic]) -> ModuleArithmetics:
        if self._specs is None:
            raise SpecificationError("use(RoundedArithmetic, override=...): a rounded baseline has one format")
        made: dict[str | torch.nn.Module, KernelSpec] = {}
        for key, arithmetic in override.items():
            told = f"use(override={{{key if isinstance(key, str) else type(key).__name__!r}: {arithmetic}}})"
            if not isinstance(arithmetic, LogArithmetic) or not isinstance(key, str | torch.nn.Module):
                raise SpecificationError(f"{told}: must be a LogArithmetic by a module or its name")
            if self.update is None and arithmetic.format != self.arithmetic.format:
                raise SpecificationError(
                    f"{told}: gives weights of another format; say with update= in which arithmetic they are updated"
                )
            made[key] = kernel_spec(arithmetic, self._specs[0].via)
        return ModuleArithmetics(made, self._specs[0], lambda: self.is_live)

    @property
    def spec(self) -> KernelSpec:
        """The kernels' tables of the arithmetic in force: the module's, or update inside ``optimizer.step()``."""
        assert self._specs is not None
        if self._phase.active:
            return self._specs[1]
        return self._specs[0] if self._modules is None else self._modules.spec

    @property
    def update_spec(self) -> KernelSpec:
        """The tables of the arithmetic that state is updated in."""
        assert self._specs is not None
        return self._specs[1]

    def _phase_of(self, spec: KernelSpec) -> Phase:
        """Where in training a kernel with the tables ``spec`` runs; whatever is neither of the others is forward."""
        if spec is self.update_spec or self._phase.active:
            return "update"
        return "forward" if torch._C._current_graph_task_id() == -1 else "backward"

    @property
    def is_live(self) -> bool:
        """Whether operators are executed in the arithmetic here and now."""
        return not (self._outside or self._suspended)

    def chain(self, steps: Chain, *arguments: Operand | CodeArray, out: torch.Tensor | None = None) -> torch.Tensor:
        """Run an elementwise chain of one result in the arithmetic in force."""
        result: torch.Tensor = steps(self.spec, self.operator, *arguments, out=out)
        return result

    def coded(self, steps: Chain, *arguments: Operand | CodeArray) -> Any:
        """The results of an elementwise chain for chains and sums alone: as codes where they need not be tensors."""
        return steps.coded(self.spec, self.operator, *arguments)

    def call(self, packet: OpOverloadPacket, *args: Any, **kwargs: Any) -> Any:
        """Run another operator from inside an operator's definition."""
        with self.reentered():
            return packet(*args, **kwargs)

    def snap(self, x: torch.Tensor | CodeArray) -> torch.Tensor:
        """``x`` rounded to the grid of the arithmetic in force."""
        rounded: torch.Tensor = identity(self.spec, self.operator, x)
        return rounded

    def counts_steps(self, tensor: torch.Tensor) -> bool:
        """Whether ``tensor`` is an optimiser's step counter, which counts exactly."""
        return self._phase.is_step_counter(tensor)

    def __enter__(self) -> "use":
        for outer in _active_runs():
            outer._suspended += 1
        self._before.append((self._outside, self._suspended))
        self._outside = self._suspended = 0
        self._phase.watch_optimizers()
        if self._modules is not None:
            self._modules.watch()
        self.guard.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self.guard.__exit__(kind, error, trace)
        self._phase.unwatch_optimizers()
        if self._modules is not None:
            self._modules.unwatch()
        self._outside, self._suspended = self._before.pop()
        for outer in _active_runs():
            outer._suspended -= 1

    @not_compiled
    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self.is_live:
            if self._outside:
                self._record(_name(func), "outside")
            return func(*args, **kwargs)
        floats = floats_among((*args, *kwargs.values()) if kwargs else args)
        if floats == CODES and self._is_plain:  # the same as below, sooner
            if (implementation := DEFINED.get(func)) is not None:
                return self._named(implementation, _name(func), (self, *args), kwargs)
            if func in MOVES:
                return func(*args, **kwargs)
        if func.namespace in _SILENT_NAMESPACES:
            return func(*args, **kwargs)
        if not floats:
            return self._without_floats(func, args, kwargs)
        if floats & CODELESS:
            wrong = UnsupportedOperation(f"{func}: half, bfloat16 and complex tensors carry no codes; {USE_A_CARRIER}")
            raise with_caller(wrong, self.arithmetic)
        return self._execute(func, args, kwargs)

    def _without_floats(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Integers are computed as they are; a float made from them must not come from floating point."""
        has_tensors = tree_any(lambda x: isinstance(x, torch.Tensor), (args, kwargs))
        if func in DEFINED and (not has_tensors or makes_floats(func, args, kwargs)):
            return self._execute(func, args, kwargs)
        result = func(*args, **kwargs)
        if func not in MOVES and tree_any(_is_floating, result):
            return self._execute(func, args, kwargs)
        return result

    def _execute(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.audit is None:
            return self._run(func, args, kwargs)
        with self.audit.timing(_name(func)):
            return self._run(func, args, kwargs)

    def _run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = _name(func)
        if func in MOVES:
            self._record(name, "exact")
            return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            self._record(name, "outside")
            return func(*args, **kwargs)
        return self._named(self._compute, name, (func, args, kwargs), {})

    def _named(self, call: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``call`` as the operator ``name``: messages name it, and who called it where it is refused."""
        before, self.operator = self.operator, name
        try:
            return call(*args, **kwargs)
        except UnsupportedOperation as refusal:
            raise with_caller(refusal, self.arithmetic) from None
        finally:
            self.operator = before

    def _compute(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._specs is None:
            self._record(self.operator, "defined")
            return run_rounded(self, func, args, kwargs)
        if func in DEFINED:
            self._record(self.operator, "defined")
            if self._observer is None:
                return DEFINED[func](self, *args, **kwargs)
            with observing(self._observer):
                return DEFINED[func](self, *args, **kwargs)
        if func in SELECTIONS:
            self._record(self.operator, "exact")
            return func(*tree_map(self._snap_floats, args), **tree_map(self._snap_floats, kwargs))
        return self._decompose(func, args, kwargs)

    def _refuse(self, func: OpOverload, reason: str) -> NoReturn:
        raise UnsupportedOperation(f"{func}: not defined; {reason}")

    def _decompose(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in REFUSED:
            self._refuse(func, REFUSED[func])
        with self.reentered():
            result = decomposed(func, args, kwargs)
        if result is NotImplemented:
            self._refuse(func, _WAY_OUT)
        self._record(_name(func), "decomposed")
        return result

    @contextmanager
    def reentered(self) -> Iterator[None]:
        """Run operators in the arithmetic from inside an operator's definition, where the mode is off."""
        TorchDispatchMode.__enter__(self)
        try:
            yield
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)

    def _snap_floats(self, x: Any) -> Any:
        return self.snap(x) if _is_floating(x) else x

    def _record(self, operator: str, how: str) -> None:
        if self.audit is not None:
            self.audit.record(operator, how)


@contextmanager
def exact() -> Iterator[None]:
    """Step out of the arithmetic, for metrics and plots: operators inside run in PyTorch's floating point.

    Counted as "outside" by the audit.
    """
    runs = _active_runs()
    for run in runs:
        run._outside += 1
    try:
        yield
    finally:
        for run in runs:
            run._outside -= 1


@contextmanager
def update_phase() -> Iterator[None]:
    """Mark a hand-written weight update or moving average: operators inside run in the ``update`` arithmetic."""
    runs = _active_runs()
    for run in runs:
        run._phase.enter()
    try:
        yield
    finally:
        for run in runs:
            run._phase.leave()


def live_run() -> use | None:
    """The run that executes operators in this thread now, or None."""
    return next((run for run in reversed(_active_runs()) if run.is_live), None)


def _active_runs() -> list[use]:
    return [mode for mode in _get_current_dispatch_mode_stack() if isinstance(mode, use)]


def _leave_behind() -> None:
    """A forked child, such as a process that loads data, takes no part in what its parent has entered."""
    for run in _active_runs():
        run._outside += 1


register_at_fork(after_in_child=_leave_behind)


def _is_floating(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and (x.dtype.is_floating_point or x.dtype.is_complex)


@cache
def _name(func: OpOverload) -> str:
    return str(func)


__all__ = ["exact", "live_run", "update_phase", "use"]
