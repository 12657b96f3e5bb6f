"""Other forms of an operator give the codes of its plain form, which other tests compare with the reference:
in place, over lists, under its name among the special functions."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from bits import ARITHMETICS
from torch import Tensor
from torch._ops import OpOverload

import slipstick as ss
from slipstick.aten.registry import DEFINED

aten = torch.ops.aten

ARITHMETIC = ARITHMETICS["hamad2025 flush sequential"]
INTEGERS = {"dim": 0, "decimals": 1, "correction": 1}
RANDOM = (
    "rand", "randn", "normal", "uniform", "randint", "randperm", "exponential", "log_normal", "cauchy", "geometric",
    "random", "rrelu", "dropout",
)  # fmt: skip


def plain_forms() -> Iterator[tuple[OpOverload, OpOverload]]:
    """Defined overloads in place, and the overload of the same arguments that returns a new tensor."""
    for overload in DEFINED:
        name = overload.overloadpacket.__name__
        if overload.namespace != "aten" or name.startswith(("_foreach", *RANDOM)):
            continue
        arguments = overload._schema.arguments
        written = [a for a in arguments if a.alias_info is not None and a.alias_info.is_write]
        packet = getattr(aten, name.removesuffix("_"), None)
        if len(written) != 1 or packet is None:
            continue
        wanted = [(a.name, str(a.type)) for a in arguments]
        for twin in (getattr(packet, o) for o in packet.overloads()):
            given = [(a.name, str(a.type)) for a in twin._schema.arguments]
            if twin is not overload and given == wanted and twin in DEFINED:
                yield overload, twin


def operands(overload: OpOverload) -> tuple[list[Any], dict[str, Any]] | None:
    """Small matrices and numbers for what the schema asks for; None where it asks for more."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for seed, argument in enumerate(overload._schema.arguments):
        kind, name = str(argument.type), argument.name
        if argument.has_default_value() and "Tensor" not in kind and name not in ("min", "max", *INTEGERS):
            continue
        if "Tensor" in kind and "List" not in kind:
            value: Any = _tensor(overload.overloadpacket.__name__, name, seed)
        elif name in INTEGERS:
            value = INTEGERS[name]
        elif kind in ("number", "float", "Optional[number]"):
            value = 0.3 + 0.4 * seed
        else:
            return None
        if argument.kwarg_only:
            kwargs[name] = value
        else:
            args.append(value)
    return args, kwargs


def _tensor(operator: str, argument: str, seed: int) -> Tensor:
    """Numbers between .1 and .9, or places, of the rank that the operator wants."""
    if argument == "index":
        places = torch.tensor([2, 0, 1])
        return places if operator.startswith("index") else places.expand(3, 3)
    x = 0.1 + 0.8 * torch.rand(3, 3, generator=torch.Generator().manual_seed(seed))
    if operator.startswith("baddbmm") or (operator.startswith("addbmm") and seed):
        return x.expand(3, 3, 3)
    if operator.startswith("addmv") and seed != 1:
        return x[0]
    return x + 1 if operator.startswith("acosh") else x


FORMS = {str(written): (written, plain) for written, plain in plain_forms() if operands(plain) is not None}


def test_most_writing_forms_are_compared() -> None:
    assert len(FORMS) >= 80


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_writes_gives_the_codes_of_the_plain_one(name: str) -> None:
    written, plain = FORMS[name]
    found = operands(plain)
    assert found is not None
    args, kwargs = found
    with ss.use(ARITHMETIC):
        want = plain(*args, **kwargs)
        copies = [a.contiguous().clone() if isinstance(a, Tensor) else a for a in args]
        target = copies[0]
        result = written(*copies, **kwargs)
    assert torch.equal(target, want)
    assert torch.equal(result, want)
    assert result.data_ptr() == target.data_ptr()


LISTS = sorted(
    {
        overload.overloadpacket.__name__
        for overload in DEFINED
        if overload.overloadpacket.__name__.startswith("_foreach")
        and len(overload._schema.arguments) == 1
        and not overload.overloadpacket.__name__.endswith("_")
    }
)
REFUSED = {"_foreach_lgamma"}


@pytest.mark.parametrize("name", LISTS)
def test_an_operator_over_a_list_is_the_operator_of_every_tensor(name: str) -> None:
    tensors = [0.1 + 0.8 * torch.rand(n, generator=torch.Generator().manual_seed(n)) for n in (3, 5)]
    if "acosh" in name:
        tensors = [t + 1 for t in tensors]
    single = getattr(aten, name.removeprefix("_foreach_"))
    in_place = getattr(aten, f"{name}_", None)
    copies = [t.clone() for t in tensors]
    with ss.use(ARITHMETIC):
        if name in REFUSED:
            with pytest.raises(ss.UnsupportedOperation):
                getattr(aten, name)(tensors)
            return
        want = [single(t) for t in tensors]
        got = getattr(aten, name)(tensors)
        if in_place is not None:
            in_place(copies)
    assert all(torch.equal(x, y) for x, y in zip(got, want, strict=True))
    assert in_place is None or all(torch.equal(x, y) for x, y in zip(copies, want, strict=True))


SPECIAL = "exp2 expm1 log1p erf erfc round sinc".split()  # noqa: SIM905


@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_function_is_the_function(name: str) -> None:
    a = torch.linspace(-0.9, 3, 40)
    with torch.inference_mode(), ss.use(ARITHMETIC):
        assert torch.equal(getattr(aten, f"special_{name}")(a), getattr(aten, name)(a))


PRIMS = "sqrt rsqrt reciprocal abs neg exp log sin tanh".split()  # noqa: SIM905


@pytest.mark.parametrize("name", PRIMS)
def test_a_prim_is_the_operator(name: str) -> None:
    a, b = torch.linspace(0.1, 3, 40), torch.linspace(3, -2, 40)
    with ss.use(ARITHMETIC):
        assert torch.equal(getattr(torch.ops.prims, name)(a), getattr(aten, name)(a))
        assert torch.equal(torch.ops.prims.atan2(a, b), torch.atan2(a, b))
        assert torch.equal(torch.ops.prims.hypot(a, b), torch.hypot(a, b))
        assert torch.equal(torch.ops.prims.sum(a, [0]), a.sum())
