"""Elementwise operators. Each chain states the normative formula: one sign, one operation, in the order written."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from typing import Any

import torch

from slipstick.aten import elementary
from slipstick.aten.registry import defined
from slipstick.errors import UnsupportedOperation
from slipstick.kernels.elementwise import Chain, chain

aten = torch.ops.aten
prims = torch.ops.prims


@chain
def _add_scaled(a, b, alpha):
    return a + alpha * b


@chain
def _sub_scaled(a, b, alpha):
    return a - alpha * b


@defined(aten.add.Tensor, aten.add_.Tensor, aten.add.Scalar, aten.add_.Scalar, aten.add.out)
def add(run, a, b, alpha=1, out=None):
    """a + alpha b; an optimiser's step counter counts exactly instead."""
    if out is not None and run.counts_steps(out):
        return torch.ops.aten.add_.Tensor(out, b, alpha=alpha)
    if alpha == 1:
        return run.chain(elementary.add, a, b, out=out)
    return run.chain(_add_scaled, a, b, alpha, out=out)


@defined(aten.sub.Tensor, aten.sub_.Tensor, aten.sub.Scalar, aten.sub_.Scalar, aten.sub.out)
def sub(run, a, b, alpha=1, out=None):
    if alpha == 1:
        return run.chain(elementary.sub, a, b, out=out)
    return run.chain(_sub_scaled, a, b, alpha, out=out)


@defined(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(run, a, b, alpha=1):
    if alpha == 1:
        return run.chain(elementary.sub, b, a)
    return run.chain(_sub_scaled, b, a, alpha)


@defined(aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.mul_.Scalar, aten.mul.out)
def mul(run, a, b, out=None):
    return run.chain(elementary.mul, a, b, out=out)


@defined(aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar, aten.div_.Scalar, aten.div.out)
def div(run, a, b, out=None):
    return run.chain(elementary.div, a, b, out=out)


@chain
def _addcmul(x, a, b, value):
    return x + value * (a * b)


@defined(aten.addcmul.default, aten.addcmul_.default, aten.addcmul.out)
def addcmul(run, x, a, b, value=1, out=None):
    return run.chain(_addcmul, x, a, b, value, out=out)


@chain
def _addcdiv(x, a, b, value):
    return x + value * (a / b)


@defined(aten.addcdiv.default, aten.addcdiv_.default, aten.addcdiv.out)
def addcdiv(run, x, a, b, value=1, out=None):
    return run.chain(_addcdiv, x, a, b, value, out=out)


@chain
def _lerp(start, end, weight):
    return start + weight * (end - start)


@defined(aten.lerp.Scalar, aten.lerp_.Scalar, aten.lerp.Tensor, aten.lerp_.Tensor)
def lerp(run, start, end, weight, out=None):
    """start + weight (end - start), whatever the weight."""
    return run.chain(_lerp, start, end, weight, out=out)


@chain
def _fma(a, b, c):
    return a * b + c


@defined(prims.fma.default) if hasattr(prims, "fma") else (lambda f: f)
def fma(run, a, b, c):
    return run.chain(_fma, a, b, c)


def _define_unary(chained: Chain, *operators: Any) -> None:
    @defined(*operators)
    def unary(run, x, out=None):
        return run.chain(chained, x, out=out)


def _define_binary(chained: Chain, *operators: Any) -> None:
    @defined(*operators)
    def binary(run, a, b, out=None):
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


@defined(aten.pow.Tensor_Scalar, aten.pow_.Scalar)
def pow_by_scalar(run, x, exponent, out=None):
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
def _clamp_both(x, low, high):
    return x.maximum(low).minimum(high)


@chain
def _clamp_low(x, low):
    return x.maximum(low)


@chain
def _clamp_high(x, high):
    return x.minimum(high)


@defined(aten.clamp, aten.clamp_)
def clamp(run, x, min=None, max=None, out=None):
    if min is None:
        return run.chain(_clamp_high, x, max, out=out)
    if max is None:
        return run.chain(_clamp_low, x, min, out=out)
    return run.chain(_clamp_both, x, min, max, out=out)


_define_binary(_clamp_low, aten.clamp_min, aten.clamp_min_)
_define_binary(_clamp_high, aten.clamp_max, aten.clamp_max_)


@defined(aten.hardtanh.default, aten.hardtanh_.default)
def hardtanh(run, x, min_val=-1, max_val=1, out=None):
    return run.chain(_clamp_both, x, min_val, max_val, out=out)


@chain
def _hardtanh_backward(gradient, x, low, high):
    return (x > low).select((x < high).select(gradient, 0.0), 0.0)


@defined(aten.hardtanh_backward.default)
def hardtanh_backward(run, gradient, x, min_val, max_val):
    return run.chain(_hardtanh_backward, gradient, x, min_val, max_val)


@chain
def _threshold_backward(gradient, x, threshold):
    return (x > threshold).select(gradient, 0.0)


@defined(aten.threshold_backward.default)
def threshold_backward(run, gradient, x, threshold):
    return run.chain(_threshold_backward, gradient, x, threshold)


@chain
def _leaky_relu(x, slope):
    return (x > 0.0).select(x, slope * x)


@chain
def _leaky_relu_backward(gradient, x, slope):
    return (x > 0.0).select(gradient, slope * gradient)


@defined(aten.leaky_relu.default, aten.leaky_relu_.default)
def leaky_relu(run, x, negative_slope=0.01, out=None):
    return run.chain(_leaky_relu, x, negative_slope, out=out)


@defined(aten.leaky_relu_backward.default)
def leaky_relu_backward(run, gradient, x, negative_slope, self_is_result):
    return run.chain(_leaky_relu_backward, gradient, x, negative_slope)


@chain
def _tanh_backward(gradient, y):
    return gradient * (1.0 - y * y)


@chain
def _sigmoid_backward(gradient, y):
    return gradient * (y * (1.0 - y))


@chain
def _silu_backward(gradient, x):
    s = x.function("sigmoid")
    return gradient * (s * (1.0 + x * (1.0 - s)))


_define_binary(_tanh_backward, aten.tanh_backward.default)
_define_binary(_sigmoid_backward, aten.sigmoid_backward.default)
_define_binary(_silu_backward, aten.silu_backward.default)


@chain
def _where(condition, a, b):
    return condition.select(a, b)


@defined(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar, prims.where.default)
def where(run, condition, a, b):
    """Selects among raw values rounded to the grid."""
    return run.chain(_where, condition, a, b)


@defined(aten.div.Tensor_mode, aten.div_.Tensor_mode, aten.div.Scalar_mode, aten.div_.Scalar_mode)
def div_mode(run, a, b, rounding_mode=None, out=None):
    if rounding_mode is not None:
        raise UnsupportedOperation(
            f"{run.operator}: rounding_mode={rounding_mode!r} is not defined in {run.arithmetic}; divide in ss.exact()"
        )
    return run.chain(elementary.div, a, b, out=out)
