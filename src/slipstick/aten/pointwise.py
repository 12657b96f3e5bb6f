"""Elementwise operators. Each chain states the normative formula: one sign, one operation, in the order written."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slipstick.aten import elementary
from slipstick.aten.registry import defined, existing
from slipstick.aten.signatures import Operand
from slipstick.errors import UnsupportedOperation
from slipstick.kernels.elementwise import Chain, Value, chain

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


@defined(aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, aten.add_.Scalar, aten.add.out)
def add(run: "use", a: Tensor, b: Operand, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """a + alpha b; an optimiser's step counter counts exactly instead."""
    if out is not None and run.counts_steps(out):
        counted: Tensor = aten.add_.Tensor(out, b, alpha=alpha)
        return counted
    if alpha == 1:
        return run.chain(elementary.add, a, b, out=out)
    return run.chain(_add_scaled, a, b, alpha, out=out)


@defined(aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar, aten.sub_.Scalar, aten.sub.out)
def sub(run: "use", a: Tensor, b: Operand, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    if alpha == 1:
        return run.chain(elementary.sub, a, b, out=out)
    return run.chain(_sub_scaled, a, b, alpha, out=out)


@defined(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(run: "use", a: Tensor, b: Operand, alpha: float = 1) -> Tensor:
    if alpha == 1:
        return run.chain(elementary.sub, b, a)
    return run.chain(_sub_scaled, b, a, alpha)


@defined(aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.mul_.Scalar, aten.mul.out)
def mul(run: "use", a: Tensor, b: Operand, out: Tensor | None = None) -> Tensor:
    return run.chain(elementary.mul, a, b, out=out)


@defined(aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar, aten.div_.Scalar, aten.div.out)
def div(run: "use", a: Tensor, b: Operand, out: Tensor | None = None) -> Tensor:
    return run.chain(elementary.div, a, b, out=out)


@chain
def _addcmul(x: Value, a: Value, b: Value, value: Value) -> Value:
    return x + value * (a * b)


@defined(aten.addcmul.default, aten.addcmul_.default, aten.addcmul.out)
def addcmul(run: "use", x: Tensor, a: Tensor, b: Tensor, value: float = 1, out: Tensor | None = None) -> Tensor:
    return run.chain(_addcmul, x, a, b, value, out=out)


@chain
def _addcdiv(x: Value, a: Value, b: Value, value: Value) -> Value:
    return x + value * (a / b)


@defined(aten.addcdiv.default, aten.addcdiv_.default, aten.addcdiv.out)
def addcdiv(run: "use", x: Tensor, a: Tensor, b: Tensor, value: float = 1, out: Tensor | None = None) -> Tensor:
    return run.chain(_addcdiv, x, a, b, value, out=out)


@chain
def _lerp(start: Value, end: Value, weight: Value) -> Value:
    return start + weight * (end - start)


@defined(aten.lerp.Scalar, aten.lerp_.Scalar, aten.lerp.Tensor, aten.lerp_.Tensor)
def lerp(run: "use", start: Tensor, end: Tensor, weight: Operand, out: Tensor | None = None) -> Tensor:
    """start + weight (end - start), whatever the weight."""
    return run.chain(_lerp, start, end, weight, out=out)


@chain
def _fma(a: Value, b: Value, c: Value) -> Value:
    return a * b + c


@defined(*existing(prims, "fma"))
def fma(run: "use", a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return run.chain(_fma, a, b, c)


def _define_unary(chained: Chain, *operators: Any) -> None:
    @defined(*operators)
    def unary(run: "use", x: Tensor, out: Tensor | None = None) -> Tensor:
        return run.chain(chained, x, out=out)


def _define_binary(chained: Chain, *operators: Any) -> None:
    @defined(*operators)
    def binary(run: "use", a: Tensor, b: Operand, out: Tensor | None = None) -> Tensor:
        return run.chain(chained, a, b, out=out)


def _named(name: str, *suffixes: str) -> list[Any]:
    """The default, in-place and out overloads of a unary operator, and its prim."""
    found: list[Any] = [getattr(aten, name).default, getattr(aten, name).out]
    if hasattr(aten, name + "_"):
        found.append(getattr(aten, name + "_").default)
    if hasattr(prims, name):
        found.append(getattr(prims, name).default)
    return found


_define_unary(chain(lambda x: -x), *_named("neg"))
_define_unary(chain(lambda x: abs(x)), *_named("abs"))
_define_unary(chain(lambda x: x.sqrt()), *_named("sqrt"))
_define_unary(chain(lambda x: x.rsqrt()), *_named("rsqrt"))
_define_unary(chain(lambda x: x.reciprocal()), *_named("reciprocal"))
_define_unary(chain(lambda x: x.maximum(0.0)), *_named("relu"))
_define_unary(chain(lambda x: (x > 0.0).select(1.0, (x < 0.0).select(-1.0, 0.0))), *_named("sign"), *_named("sgn"))
_define_unary(chain(lambda x: x * x), aten.square.default, aten.square_.default)
_define_unary(chain(lambda x: x * x.function("sigmoid")), *_named("silu"))
for _name in ("exp", "exp2", "expm1", "log", "log2", "log1p", "tanh", "sigmoid"):
    _define_unary(chain(lambda x, name=_name: x.function(name)), *_named(_name))

_define_binary(chain(lambda a, b: a.maximum(b)), aten.maximum.default, aten.maximum.out, prims.maximum.default)
_define_binary(chain(lambda a, b: a.minimum(b)), aten.minimum.default, aten.minimum.out, prims.minimum.default)
for _name, _chained in (
    ("add", elementary.add),
    ("sub", elementary.sub),
    ("mul", elementary.mul),
    ("div", elementary.div),
):
    _define_binary(_chained, getattr(prims, _name).default)

for _name, _chained in (
    ("gt", chain(lambda a, b: a > b)),
    ("ge", chain(lambda a, b: a >= b)),
    ("lt", chain(lambda a, b: a < b)),
    ("le", chain(lambda a, b: a <= b)),
    ("eq", chain(lambda a, b: a.equals(b))),
    ("ne", chain(lambda a, b: a.differs(b))),
):
    _packet = getattr(aten, _name)
    _define_binary(_chained, _packet.Tensor, _packet.Scalar, getattr(prims, _name).default)


@defined(aten.pow.Tensor_Scalar, aten.pow_.Scalar)
def pow_by_scalar(run: "use", x: Tensor, exponent: float, out: Tensor | None = None) -> Tensor:
    """x^p: the log times p. sqrt and rsqrt for p = +-1/2, as hardware shares them."""
    if exponent in (0.5, -0.5):
        return run.chain(_ROOTS[exponent], x, out=out)
    return run.chain(_power(float(exponent)), x, out=out)


_ROOTS = {0.5: chain(lambda x: x.sqrt()), -0.5: chain(lambda x: x.rsqrt())}
_POWERS: dict[float, Chain] = {}


def _power(exponent: float) -> Chain:
    if exponent not in _POWERS:
        _POWERS[exponent] = chain(lambda x: x.function("pow", exponent))
    return _POWERS[exponent]


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


_define_binary(_clamp_low, aten.clamp_min, aten.clamp_min_)
_define_binary(_clamp_high, aten.clamp_max, aten.clamp_max_)


@defined(aten.hardtanh.default, aten.hardtanh_.default)
def hardtanh(run: "use", x: Tensor, min_val: float = -1, max_val: float = 1, out: Tensor | None = None) -> Tensor:
    return run.chain(_clamp_both, x, min_val, max_val, out=out)


@chain
def _hardtanh_backward(gradient: Value, x: Value, low: Value, high: Value) -> Value:
    return (x > low).select((x < high).select(gradient, 0.0), 0.0)


@defined(aten.hardtanh_backward.default)
def hardtanh_backward(run: "use", gradient: Tensor, x: Tensor, min_val: float, max_val: float) -> Tensor:
    return run.chain(_hardtanh_backward, gradient, x, min_val, max_val)


@chain
def _threshold_backward(gradient: Value, x: Value, threshold: Value) -> Value:
    return (x > threshold).select(gradient, 0.0)


@defined(aten.threshold_backward.default)
def threshold_backward(run: "use", gradient: Tensor, x: Tensor, threshold: float) -> Tensor:
    return run.chain(_threshold_backward, gradient, x, threshold)


@chain
def _leaky_relu(x: Value, slope: Value) -> Value:
    return (x > 0.0).select(x, slope * x)


@chain
def _leaky_relu_backward(gradient: Value, x: Value, slope: Value) -> Value:
    return (x > 0.0).select(gradient, slope * gradient)


@defined(aten.leaky_relu.default, aten.leaky_relu_.default)
def leaky_relu(run: "use", x: Tensor, negative_slope: float = 0.01, out: Tensor | None = None) -> Tensor:
    return run.chain(_leaky_relu, x, negative_slope, out=out)


@defined(aten.leaky_relu_backward.default)
def leaky_relu_backward(run: "use", gradient: Tensor, x: Tensor, negative_slope: float, self_is_result: bool) -> Tensor:
    return run.chain(_leaky_relu_backward, gradient, x, negative_slope)


@chain
def _tanh_backward(gradient: Value, y: Value) -> Value:
    return gradient * (1.0 - y * y)


@chain
def _sigmoid_backward(gradient: Value, y: Value) -> Value:
    return gradient * (y * (1.0 - y))


@chain
def _silu_backward(gradient: Value, x: Value) -> Value:
    s = x.function("sigmoid")
    return gradient * (s * (1.0 + x * (1.0 - s)))


_define_binary(_tanh_backward, aten.tanh_backward.default)
_define_binary(_sigmoid_backward, aten.sigmoid_backward.default)
_define_binary(_silu_backward, aten.silu_backward.default)


@defined(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar, prims.where.default)
def where(run: "use", condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """What is selected is rounded to the grid; a NaN that is not selected does no harm."""
    return run.snap(torch.where(condition, _constant(run, a), _constant(run, b)))


def _constant(run: "use", value: Operand) -> Operand:
    """A host constant rounded to the grid from float64."""
    if isinstance(value, Tensor | bool) or math.isnan(value):
        return value
    return run.snap(torch.tensor(value, dtype=torch.float64)).item()


@defined(aten.div.Tensor_mode, aten.div_.Tensor_mode, aten.div.Scalar_mode, aten.div_.Scalar_mode)
def div_mode(run: "use", a: Tensor, b: Operand, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    if rounding_mode is not None:
        raise UnsupportedOperation(
            f"{run.operator}: rounding_mode={rounding_mode!r} is not defined in {run.arithmetic}; divide in ss.exact()"
        )
    return run.chain(elementary.div, a, b, out=out)
