"""Types of the compiled kernels; tensors are passed as addresses with shapes and strides."""

from collections.abc import Sequence
from typing import Any

class Format:
    def __init__(self, int_bits: int, frac_bits: int, flush: bool) -> None: ...

class Arithmetic: ...
class Program: ...
class LinearPlan: ...

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
def make_program(inputs: int, registers: int, steps: Sequence[int], outputs: Sequence[int]) -> Program: ...
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
def contract(
    arithmetic: Arithmetic,
    a: Sequence[int],
    b: Sequence[int],
    out: int,
    batch: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
    terms: Sequence[int],
    start: int,
    threads: int,
    generic: bool = False,
) -> bool: ...
def plan_name(arithmetic: Arithmetic, terms: int = 512) -> str: ...
def make_linear_plan(
    bits: int, saturate: bool, terms: Any, fraction: int, versions: int, left: Any, remainders: Any
) -> LinearPlan: ...
def linear_contract(
    plan: LinearPlan,
    a: Sequence[int],
    b: Sequence[int],
    out: int,
    batch: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
    terms: Sequence[int],
    start: int,
    scales: Any,
    threads: int,
) -> None: ...
