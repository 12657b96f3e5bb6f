"""Elementwise chains: several operations on codes in one pass over memory.

A chain is written as a Python function of symbolic values, recorded once, and run by the native kernels:

    @chain
    def scaled_sum(x, y, alpha):
        return x + alpha * y

    scaled_sum(spec, "axpy", x, y, 0.9)

Every operator sign is one operation of the arithmetic, in the order written. Arguments are tensors, which broadcast, or
numbers: host constants, encoded from float64. What only other kernels read may stay in codes: see ``Chain.coded``.
"""

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slipstick.arithmetic.functions import table_in
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.formats import LNS
from slipstick.kernels import native
from slipstick.kernels.carriers import CARRIERS, TORCH, check_carrier, check_device, written
from slipstick.kernels.observation import ChainCall, current_observer
from slipstick.kernels.spec import KernelSpec

_OPS = (
    *("add", "sub", "mul", "div", "max", "min"),
    *("neg", "abs", "sqrt", "rsqrt", "reciprocal", "lookup", "select"),
    *("gt", "ge", "lt", "le", "eq", "ne", "is_zero"),
)
_OPCODE = {name: code for code, name in enumerate(_OPS)}
_MASKS = frozenset({"gt", "ge", "lt", "le", "eq", "ne", "is_zero"})

_KINDS = {torch.float32: 0, torch.float64: 1, torch.bool: 2}
_CONSTANT = 3

_MOST_CONSTANTS = 4096
"""Codes of constants that are kept for one arithmetic; learning rates and bias corrections keep changing."""

_NAN, _ZERO_BY_ZERO, _ROOT_OF_NEGATIVE = 1, 2, 4

Number = int | float | bool

CodeArray = native.CodeArray
"""Numbers as codes of one operand format, which only kernels of that format can read."""


class Value:
    """A code (or a mask) in a chain that is being recorded."""

    def __init__(self, recorder: "_Recorder", register: int, is_mask: bool = False) -> None:
        self._recorder = recorder
        self.register = register
        self.is_mask = is_mask

    def _emit(self, op: str, *operands: "Value | Number", table: int = 0) -> "Value":
        return self._recorder.emit(op, (self, *operands), table)

    def __add__(self, other: "Value | Number") -> "Value":
        return self._emit("add", other)

    def __sub__(self, other: "Value | Number") -> "Value":
        return self._emit("sub", other)

    def __mul__(self, other: "Value | Number") -> "Value":
        return self._emit("mul", other)

    def __truediv__(self, other: "Value | Number") -> "Value":
        return self._emit("div", other)

    def __radd__(self, other: Number) -> "Value":
        return self._recorder.constant(other)._emit("add", self)

    def __rsub__(self, other: Number) -> "Value":
        return self._recorder.constant(other)._emit("sub", self)

    def __rmul__(self, other: Number) -> "Value":
        return self._recorder.constant(other)._emit("mul", self)

    def __rtruediv__(self, other: Number) -> "Value":
        return self._recorder.constant(other)._emit("div", self)

    def __neg__(self) -> "Value":
        return self._emit("neg")

    def __abs__(self) -> "Value":
        return self._emit("abs")

    def __gt__(self, other: "Value | Number") -> "Value":
        return self._emit("gt", other)

    def __ge__(self, other: "Value | Number") -> "Value":
        return self._emit("ge", other)

    def __lt__(self, other: "Value | Number") -> "Value":
        return self._emit("lt", other)

    def __le__(self, other: "Value | Number") -> "Value":
        return self._emit("le", other)

    def equals(self, other: "Value | Number") -> "Value":
        return self._emit("eq", other)

    def differs(self, other: "Value | Number") -> "Value":
        return self._emit("ne", other)

    def is_zero(self) -> "Value":
        return self._emit("is_zero")

    def maximum(self, other: "Value | Number") -> "Value":
        return self._emit("max", other)

    def minimum(self, other: "Value | Number") -> "Value":
        return self._emit("min", other)

    def sqrt(self) -> "Value":
        return self._emit("sqrt")

    def rsqrt(self) -> "Value":
        return self._emit("rsqrt")

    def reciprocal(self) -> "Value":
        return self._emit("reciprocal")

    def select(self, then: "Value | Number", otherwise: "Value | Number") -> "Value":
        """``then`` where this mask holds, else ``otherwise``."""
        return self._emit("select", then, otherwise)

    def function(self, name: str, parameter: float = 0.0) -> "Value":
        """A function of one number by table; see arithmetic.functions."""
        return self._emit("lookup", table=self._recorder.table(name, parameter))


class _Recorder:
    def __init__(self, arguments: int) -> None:
        self.arguments = arguments
        self.constants: list[float] = []
        self.tables: list[tuple[str, float]] = []
        self.steps: list[tuple[str, int, tuple[int, ...], int]] = []
        self.values = 0

    def fresh(self) -> int:
        self.values += 1
        return self.values - 1

    def constant(self, number: Number) -> Value:
        self.constants.append(float(number))
        return Value(self, -len(self.constants))

    def table(self, name: str, parameter: float) -> int:
        self.tables.append((name, parameter))
        return len(self.tables) - 1

    def emit(self, op: str, operands: Sequence[Value | Number], table: int) -> Value:
        values = [o if isinstance(o, Value) else self.constant(o) for o in operands]
        register = self.fresh()
        self.steps.append((op, register, tuple(v.register for v in values), table))
        is_mask = op in _MASKS or (op == "select" and values[1].is_mask and values[2].is_mask)
        return Value(self, register, is_mask)


class Chain:
    """A recorded chain; see the module's docstring."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__doc__ = function.__doc__
        arguments = function.__code__.co_argcount - len(function.__defaults__ or ())
        recorder = _Recorder(arguments)
        inputs = [Value(recorder, recorder.fresh()) for _ in range(arguments)]
        result = function(*inputs)
        results: tuple[Value, ...] = result if isinstance(result, tuple) else (result,)
        self.constants = tuple(recorder.constants)
        self.functions = tuple(recorder.tables)
        self.masks = tuple(r.is_mask for r in results)
        self._conditions = frozenset(operands[0] for op, _, operands, _ in recorder.steps if op == "select")
        self._program = _compile(recorder, results, self._conditions, self.masks)
        self._steps = tuple(recorder.steps)
        self._inputs = (*range(arguments), *(-1 - i for i in range(len(recorder.constants))))
        self._held: tuple[KernelSpec | None, list[NDArray[np.int32]], list[int]] = (None, [], [])
        self._adds = any(op in ("add", "sub") for op, *_ in recorder.steps)

    def __call__(
        self,
        spec: KernelSpec,
        operator: str,
        *arguments: torch.Tensor | CodeArray | Number,
        out: torch.Tensor | Sequence[torch.Tensor] | None = None,
    ) -> Any:
        """Run on ``arguments``; results are new tensors, or ``out`` (which may be an argument, in place).

        Arguments that share memory with ``out`` otherwise are read in full before anything is written.
        Raises NonFiniteError naming ``operator`` for NaN, 0/0 and roots of negative numbers.
        """
        result = self._quick(spec, operator, arguments, () if out is None else out)
        if result is not None:
            return result
        return self._in_full(spec, operator, tuple(_decoded(a, spec, operator) for a in arguments), out)

    def coded(self, spec: KernelSpec, operator: str, *arguments: torch.Tensor | CodeArray | Number) -> Any:
        """As a call without ``out``, but results may be codes instead of tensors: what only kernels read needs no
        floats. They are tensors in wide formats, for float64 and while an observer looks on."""
        if current_observer() is None:
            result = self._quick(spec, operator, arguments, None)
            if result is not None:
                return result
        return self(spec, operator, *arguments)

    def _quick(self, spec: KernelSpec, operator: str, arguments: tuple[Any, ...], out: Any) -> Any:
        """By the native code alone, if it can; else None. out: as its ``call_chain`` takes it."""
        if self._adds and current_observer() is not None:
            return None
        result = native.call_chain(
            TORCH,
            spec.native,
            self._program,
            (*arguments, *self.constants),
            out,
            spec.constants,
            self._tables(spec)[1] if self.functions else (),
            torch.get_num_threads(),
        )
        if result.__class__ is int:
            raise_status(result, operator, spec)
        return result

    def _tables(self, spec: KernelSpec) -> tuple[list[NDArray[np.int32]], list[int]]:
        """Of the functions, and their addresses; those asked for last are kept."""
        held_for, tables, addresses = self._held
        if held_for is not spec:
            tables = [table_in(spec.arithmetic, name, parameter) for name, parameter in self.functions]
            addresses = [table.ctypes.data for table in tables]
            self._held = spec, tables, addresses
        return tables, addresses

    def _in_full(
        self,
        spec: KernelSpec,
        operator: str,
        arguments: tuple[torch.Tensor | Number, ...],
        out: torch.Tensor | Sequence[torch.Tensor] | None,
    ) -> Any:
        """For any arguments: of several types, integers, constants not met before, tensors that are refused."""
        if out is not None and any(_spoils(x, a) for x in _listed(out) for a in arguments):
            return written(self(spec, operator, *arguments), out)
        inputs = [_as_input(a, operator, i in self._conditions) for i, a in enumerate((*arguments, *self.constants))]
        tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
        shape = _broadcast_shape(tensors)
        outputs = _allocate(arguments, tensors, shape, self.masks) if out is None else _listed(out)
        for x in outputs:
            if x.shape != shape:
                raise RuntimeError(f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(shape)}")
        tables, addresses = self._tables(spec)
        if len(tensors) != len(inputs) and any(isinstance(x, float) and isnan(x) for x in inputs):
            raise_status(_NAN, operator, spec)
        kinds, data, strides = _describe(inputs, shape, spec)
        out_kinds, out_data, out_strides = _describe(outputs, shape, spec)
        if self._adds and (observer := current_observer()) is not None:
            observer.chain(ChainCall(spec, self._steps, self._inputs, shape, kinds, data, strides, tables))
        status = native.chain(
            spec.native, self._program, list(shape), kinds, data, strides, out_kinds, out_data, out_strides,
            addresses, torch.get_num_threads(),
        )  # fmt: skip
        if status:
            raise_status(status, operator, spec)
        if out is not None:
            return out
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def chain(function: Callable[..., Any]) -> Chain:
    """Record ``function`` as a chain."""
    return Chain(function)


def constant_code(value: float, format: LNS) -> int:
    """The code 2L + s of a host constant, encoded from float64 straight into ``format``.

    A constant is not a stored number, so it does not pass through an update format on its way.
    """
    sign, log = format.logs(np.array([value], dtype=np.float64))
    return int(2 * log[0] + sign[0])


def _constant_in(spec: KernelSpec, value: float) -> int:
    if len(spec.constants) == _MOST_CONSTANTS:
        spec.constants.clear()
    return spec.constants.setdefault(value, constant_code(value, spec.format))


def raise_status(status: int, operator: str, spec: KernelSpec) -> None:
    """Turn a kernel's status word into the error it stands for."""
    if status & _ZERO_BY_ZERO:
        reason = "0/0 has no code; guard the division"
    elif status & _ROOT_OF_NEGATIVE:
        reason = "square root of a negative number; clamp its argument"
    else:
        reason = "NaN has no code; find the operation that produced it"
    raise NonFiniteError(f"{operator} in {spec.arithmetic.format}: {reason}")


def _compile(
    recorder: _Recorder, results: tuple[Value, ...], conditions: frozenset[int], masks: tuple[bool, ...]
) -> native.Program:
    """Assign registers: arguments and constants first, then each result in the lowest that is free."""
    inputs = recorder.arguments + len(recorder.constants)
    place = {i: i for i in range(recorder.arguments)}
    place |= {-1 - i: recorder.arguments + i for i in range(len(recorder.constants))}
    last = {operand: step for step, (_, _, operands, _) in enumerate(recorder.steps) for operand in operands}
    last |= {r.register: len(recorder.steps) for r in results}
    free: list[int] = []
    registers = inputs
    flat: list[int] = []
    for step, (op, register, operands, table) in enumerate(recorder.steps):
        if free:
            place[register] = free.pop()
        else:
            place[register] = registers
            registers += 1
        sources = [place[o] for o in operands]
        flat += [_OPCODE[op], place[register], *sources, *([sources[0]] * (3 - len(sources))), table]
        # Inputs are loaded once per chunk, so their registers may be reused too once they are dead.
        free += [place[o] for o in dict.fromkeys(operands) if last[o] == step]
    masked = sorted(c for c in conditions if 0 <= c < recorder.arguments)
    return native.make_program(inputs, max(registers, 1), flat, [place[r.register] for r in results], masked, masks)


def _decoded(argument: Any, spec: KernelSpec, operator: str) -> Any:
    return identity(spec, operator, argument) if isinstance(argument, CodeArray) else argument


def _as_input(argument: torch.Tensor | Number, operator: str, is_condition: bool) -> torch.Tensor | float:
    if not isinstance(argument, torch.Tensor):
        return float(argument)
    if argument.dtype in CARRIERS and argument.is_cpu and not is_condition:
        return argument
    check_device(argument, operator)
    if is_condition:
        return argument.to(torch.bool)
    if argument.dtype.is_floating_point or argument.dtype.is_complex:
        check_carrier(argument, operator)
        return argument
    return argument.to(torch.float64)


def _broadcast_shape(tensors: list[torch.Tensor]) -> torch.Size:
    if not tensors:
        raise SpecificationError("a chain needs at least one tensor")
    shape = tensors[0].shape
    for x in tensors:
        if x.shape != shape:
            break
    else:
        return shape
    wide: torch.Tensor = torch.broadcast_tensors(*tensors)[0]
    return wide.shape


def _allocate(
    arguments: Sequence[torch.Tensor | Number],
    tensors: list[torch.Tensor],
    shape: torch.Size,
    masks: tuple[bool, ...],
) -> list[torch.Tensor]:
    dtype = _result_dtype(arguments)
    like = next((t for t in tensors if t.shape == shape), None)
    outputs = []
    for is_mask in masks:
        wanted = torch.bool if is_mask else dtype
        fresh = torch.empty(shape, dtype=wanted) if like is None else torch.empty_like(like, dtype=wanted)
        outputs.append(fresh)
    return outputs


def _result_dtype(arguments: Sequence[torch.Tensor | Number]) -> torch.dtype:
    """PyTorch's promotion: tensors with dimensions outrank those without, float64 outranks float32."""
    floats = [a for a in arguments if isinstance(a, torch.Tensor) and a.dtype.is_floating_point]
    ranked = [a for a in floats if a.dim()] or floats
    return torch.float64 if any(a.dtype == torch.float64 for a in ranked) else torch.float32


def _listed(out: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [out] if isinstance(out, torch.Tensor) else list(out)


def _spoils(out: torch.Tensor, argument: torch.Tensor | Number) -> bool:
    """Whether writing ``out`` element by element could spoil elements of ``argument`` not yet read."""
    if not isinstance(argument, torch.Tensor) or argument is out:
        return False
    if argument.untyped_storage().data_ptr() != out.untyped_storage().data_ptr():
        return False
    return (argument.data_ptr(), argument.stride(), argument.shape) != (out.data_ptr(), out.stride(), out.shape)


def _describe(
    inputs: Sequence[torch.Tensor | float], shape: torch.Size, spec: KernelSpec
) -> tuple[list[int], list[int], list[int]]:
    kinds: list[int] = []
    data: list[int] = []
    strides: list[int] = []
    for x in inputs:
        if isinstance(x, torch.Tensor):
            kinds.append(_KINDS[x.dtype])
            data.append(x.data_ptr())
            strides.extend(x.expand(shape).stride() if x.shape != shape else x.stride())
        else:
            kinds.append(_CONSTANT)
            data.append(_constant_in(spec, x))
            strides.extend([0] * len(shape))
    return kinds, data, strides


@chain
def identity(x: Value) -> Value:
    """x rounded to the grid."""
    return x
