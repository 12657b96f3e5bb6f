"""Types of the compiled kernels; tensors are passed as addresses with shapes and strides."""

from collections.abc import Sequence
from typing import Any

Dims = Sequence[tuple[int, ...]]

class Format:
    def __init__(self, int_bits: int, frac_bits: int, flush: bool) -> None: ...

class Arithmetic: ...
class Program: ...
class LinearPlan: ...

class CodeArray:
    @property
    def shape(self) -> tuple[int, ...]: ...

class Torch:
    def __init__(
        self,
        tensor: Any,
        float32: Any,
        float64: Any,
        boolean: Any,
        empty_like: Any,
        empty_strided: Any,
        exchange: Any,
    ) -> None: ...
    def floats(self, items: tuple[Any, ...]) -> int: ...
    def dense(self, x: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None: ...

def current_isa() -> str: ...
def available_isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def make_arithmetic(
    operand: Format,
    accumulator: Format,
    encode_float: Any,
    float_shift: int,
    encode_double: Any,
    double_shift: int,
    decode: Any,
    plus: Any,
    minus: Any,
    accumulator_plus: Any,
    accumulator_minus: Any,
    order: str,
    order_size: int,
) -> Arithmetic: ...
def make_program(
    inputs: int,
    registers: int,
    steps: Sequence[int],
    outputs: Sequence[int],
    conditions: Sequence[int],
    masks: Sequence[bool],
) -> Program: ...
def chain(
    arithmetic: Arithmetic,
    program: Program,
    shape: Sequence[int],
    in_kinds: Sequence[int],
    in_data: Sequence[int],
    in_strides: Sequence[int],
    out_kinds: Sequence[int],
    out_data: Sequence[int],
    out_strides: Sequence[int],
    tables: Sequence[int],
    threads: int,
) -> int: ...
def call_chain(
    torch: Torch,
    arithmetic: Arithmetic,
    program: Program,
    arguments: tuple[Any, ...],
    out: Any,
    codes: dict[float, int],
    tables: Sequence[int],
    threads: int,
) -> Any: ...
def contract(
    arithmetic: Arithmetic,
    a: Sequence[int],
    b: Sequence[int],
    out: int,
    batch: Dims,
    rows: Dims,
    columns: Dims,
    terms: Dims,
    start: int,
    bias: Sequence[int] | None,
    bias_steps: Sequence[int],
    threads: int,
    generic: bool = False,
) -> bool: ...
def matmul(torch: Torch, arithmetic: Arithmetic, a: Any, b: Any, bias: Any, threads: int) -> Any: ...
def sum_over(torch: Torch, arithmetic: Arithmetic, x: Any, dims: Any, keepdim: bool, threads: int) -> Any: ...
def plan_name(arithmetic: Arithmetic, terms: int = 512) -> str: ...
def make_linear_plan(
    bits: int, saturate: bool, terms: Any, fraction: int, versions: int, left: Any, remainders: Any
) -> LinearPlan: ...
def linear_contract(
    plan: LinearPlan,
    a: Sequence[int],
    b: Sequence[int],
    out: int,
    batch: Dims,
    rows: Dims,
    columns: Dims,
    terms: Dims,
    start: int,
    scales: Any,
    threads: int,
) -> None: ...
