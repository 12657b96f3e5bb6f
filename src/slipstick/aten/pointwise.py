"""Elementwise operators. Each chain states the normative formula: one sign, one operation, in the order written."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slipstick.aten.masked_quotients import overwrites_quotients, safe_divisor
from slipstick.aten.registry import defined
from slipstick.aten.signatures import Operand
from slipstick.aten.unary import define_binary, define_unary, named
from slipstick.kernels import elementary
from slipstick.kernels.elementwise import Value, chain

if TYPE_CHECKING:
    from slipstick.aten.mode import use

aten = torch.ops.aten
prims = torch.ops.prims


@chain
def _add_scaled(a: Value, b: Value, alpha: Value) -> Value:
    return a + alpha * b


@chain
def _sub_scaled(a: Value, b: Value, alpha: Value) -> Value:
    return a - alpha * b


@defined(aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, aten.add_.Scalar)
def add(run: "use", a: Tensor, b: Operand, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """a + alpha b; an optimiser's step counter counts exactly instead."""
    if out is not None and run.counts_steps(out):
        counted: Tensor = aten.add_.Tensor(out, b, alpha=alpha)
        return counted
    if alpha == 1:
        return run.chain(elementary.add, a, b, out=out)
    return run.chain(_add_scaled, a, b, alpha, out=out)


@defined(aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar, aten.sub_.Scalar)
def sub(run: "use", a: Tensor, b: Operand, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    if alpha == 1:
        return run.chain(elementary.sub, a, b, out=out)
    return run.chain(_sub_scaled, a, b, alpha, out=out)


@defined(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(run: "use", a: Tensor, b: Operand, alpha: float = 1) -> Tensor:
    if alpha == 1:
        return run.chain(elementary.sub, b, a)
    return run.chain(_sub_scaled, b, a, alpha)


@defined(aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.mul_.Scalar)
def mul(run: "use", a: Tensor, b: Operand, out: Tensor | None = None) -> Tensor:
    return run.chain(elementary.mul, a, b, out=out)


@defined(aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar, aten.div_.Scalar)
def div(run: "use", a: Tensor, b: Operand, out: Tensor | None = None) -> Tensor:
    if overwrites_quotients():
        b = safe_divisor(run, a, b)
    return run.chain(elementary.div, a, b, out=out)


@chain
def _addcmul(x: Value, a: Value, b: Value, value: Value) -> Value:
    return x + value * (a * b)


@defined(aten.addcmul.default, aten.addcmul_.default)
def addcmul(run: "use", x: Tensor, a: Tensor, b: Tensor, value: float = 1, out: Tensor | None = None) -> Tensor:
    return run.chain(_addcmul, x, a, b, value, out=out)


@chain
def _addcdiv(x: Value, a: Value, b: Value, value: Value) -> Value:
    return x + value * (a / b)


@defined(aten.addcdiv.default, aten.addcdiv_.default)
def addcdiv(run: "use", x: Tensor, a: Tensor, b: Tensor, value: float = 1, out: Tensor | None = None) -> Tensor:
    return run.chain(_addcdiv, x, a, b, value, out=out)


@chain
def _lerp(start: Value, end: Value, weight: Value) -> Value:
    return start + weight * (end - start)


@defined(aten.lerp.Scalar, aten.lerp_.Scalar, aten.lerp.Tensor, aten.lerp_.Tensor)
def lerp(run: "use", start: Tensor, end: Tensor, weight: Operand, out: Tensor | None = None) -> Tensor:
    """start + weight (end - start), whatever the weight."""
    return run.chain(_lerp, start, end, weight, out=out)


define_unary(chain(lambda x: -x), *named("neg"))
define_unary(chain(lambda x: abs(x)), *named("abs"))
define_unary(chain(lambda x: x.sqrt()), *named("sqrt"))
define_unary(chain(lambda x: x.rsqrt()), *named("rsqrt"))
define_unary(chain(lambda x: x.reciprocal()), *named("reciprocal"))
define_unary(chain(lambda x: x.maximum(0.0)), *named("relu"))
define_unary(chain(lambda x: (x > 0.0).select(1.0, (x < 0.0).select(-1.0, 0.0))), *named("sign"), *named("sgn"))
define_unary(chain(lambda x: x * x), aten.square.default, aten.square_.default)


@chain
def _sinc(x: Value) -> Value:
    z = math.pi * x
    at_zero = z.equals(0.0)
    safe = at_zero.select(1.0, z)
    return at_zero.select(1.0, safe.function("sin") / safe)


define_unary(_sinc, *named("sinc"))

define_binary(chain(lambda a, b: a.maximum(b)), aten.maximum.default, prims.maximum.default)
define_binary(chain(lambda a, b: a.minimum(b)), aten.minimum.default, prims.minimum.default)
for _name, _chained in (
    ("add", elementary.add),
    ("sub", elementary.sub),
    ("mul", elementary.mul),
    ("div", elementary.div),
):
    define_binary(_chained, getattr(prims, _name).default)

for _name, _chained in (
    ("gt", chain(lambda a, b: a > b)),
    ("ge", chain(lambda a, b: a >= b)),
    ("lt", chain(lambda a, b: a < b)),
    ("le", chain(lambda a, b: a <= b)),
    ("eq", chain(lambda a, b: a.equals(b))),
    ("ne", chain(lambda a, b: a.differs(b))),
):
    _packet = getattr(aten, _name)
    define_binary(_chained, _packet.Tensor, _packet.Scalar, getattr(prims, _name).default)


@chain
def _clamp_both(x: Value, low: Value, high: Value) -> Value:
    return x.maximum(low).minimum(high)


@chain
def _clamp_low(x: Value, low: Value) -> Value:
    return x.maximum(low)


@chain
def _clamp_high(x: Value, high: Value) -> Value:
    return x.minimum(high)


@defined(aten.clamp, aten.clamp_)
def clamp(
    run: "use", x: Tensor, min: Operand | None = None, max: Operand | None = None, out: Tensor | None = None
) -> Tensor:
    if min is None:
        assert max is not None
        return run.chain(_clamp_high, x, max, out=out)
    if max is None:
        return run.chain(_clamp_low, x, min, out=out)
    return run.chain(_clamp_both, x, min, max, out=out)


define_binary(_clamp_low, aten.clamp_min, aten.clamp_min_)
define_binary(_clamp_high, aten.clamp_max, aten.clamp_max_)


@defined(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar, prims.where.default)
def where(run: "use", condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """What is selected is rounded to the grid; a NaN that is not selected does no harm."""
    return run.snap(torch.where(condition, _constant(run, a), _constant(run, b)))


def _constant(run: "use", value: Operand) -> Operand:
    """A host constant rounded to the grid from float64."""
    if isinstance(value, Tensor | bool) or math.isnan(value):
        return value
    return run.snap(torch.tensor(value, dtype=torch.float64)).item()
