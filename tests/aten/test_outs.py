"""An operator that is told where its result goes, or that works in place, writes there what it returns without."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bits import ARITHMETICS
from small import is_on
from torch.testing._internal.common_methods_invocations import op_db

import slipstick as ss

ARITHMETIC = ARITHMETICS["hamad2025 flush sequential"]
UNWRITTEN = frozenset(["empty", "equal"])  # what it holds is anything; no tensor is returned
WITHOUT_PLAIN_FORM = frozenset(["_native_batch_norm_legit", "_batch_norm_with_update"])

OPERATORS = {
    f"{op.name} {op.variant_test_name}".strip(): op
    for op in op_db
    if op.supports_out and torch.float32 in op.dtypes and op.name not in UNWRITTEN | WITHOUT_PLAIN_FORM
}


def _run(call: Callable[..., Any], sample: Any, **out: Any) -> Any:
    torch.manual_seed(1)
    with ss.use(ARITHMETIC), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(sample.input, *sample.args, **sample.kwargs, **out)


def _targets(results: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, ...]]:
    fitting = tuple(torch.full_like(x, 1) for x in results)
    return [fitting, tuple(torch.empty(0, dtype=x.dtype) for x in results)]


def _is_written(name: str) -> bool:
    """Whether ``name`` could be tried: its plain form is not refused. Raises AssertionError where it is wrong."""
    operator = OPERATORS[name]
    sample = next(iter(operator.sample_inputs("cpu", torch.float32)))
    try:
        want = _run(operator, sample)
    except (ss.UnsupportedOperation, ss.NonFiniteError):
        return False
    results = (want,) if isinstance(want, torch.Tensor) else tuple(want)
    for given in _targets(results):
        _run(operator, sample, out=given[0] if isinstance(want, torch.Tensor) else given)
        for result, written in zip(results, given, strict=True):
            assert torch.equal(written, result), name
    return True


def test_operators_write_what_they_return() -> None:
    torch.manual_seed(0)
    assert sum(map(_is_written, OPERATORS)) > 200


SAMPLERS = frozenset("cauchy exponential geometric log_normal normal uniform".split())  # noqa: SIM905
IN_PLACE = {
    f"{op.name} {op.variant_test_name}".strip(): op
    for op in op_db
    if op.inplace_variant is not None and torch.float32 in op.dtypes and op.name not in SAMPLERS
}


def test_operators_in_place_write_what_they_return() -> None:
    torch.manual_seed(0)
    compared = 0
    for name, operator in IN_PLACE.items():
        sample = next(iter(operator.sample_inputs("cpu", torch.float32)))
        try:
            want = _run(operator, sample)
        except (ss.UnsupportedOperation, ss.NonFiniteError):
            continue
        if want.shape == sample.input.shape and want.dtype == sample.input.dtype:
            sample.input = sample.input.detach().clone()
            assert _run(operator.inplace_variant, sample) is sample.input, name
            with ss.use(ARITHMETIC):  # what is only moved may be off the grid until it is read
                assert torch.equal(sample.input, want), name
            compared += 1
    assert compared > 90


def test_a_result_that_broadcasts_further_does_not_fit_in_place() -> None:
    with ss.use(ARITHMETIC), pytest.raises(RuntimeError, match=r"output with shape \[4\] doesn't match .* \[3, 4\]"):
        torch.ones(4).mul_(torch.ones(3, 4))


def test_samples_are_on_the_grid_where_they_are_written() -> None:
    samples = torch.empty(50)
    with ss.use(ARITHMETIC):
        torch.randn(50, out=samples)
    assert is_on(samples, ARITHMETIC)
