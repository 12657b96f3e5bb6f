"""The same program from the same seed gives the same codes: again, on more threads, on every instruction set."""

import pytest
import torch
import torch.nn.functional as F
from small import FINE, LNS12, state
from torch import nn

import slipstick as ss
from slipstick.kernels import native

FORMS = {
    "hamad2025": LNS12,
    "exact sequential": ss.LogArithmetic(ss.LNS(5, 5, "flush"), "exact", ss.Sequential()),
    "blocked, operand accumulator": ss.LogArithmetic(ss.LNS(5, 5), "exact", ss.Blocked(16), "operand"),
    "lookup": ss.LogArithmetic(ss.LNS(5, 5), "sanyal2019-lut"),
}


def _trained(arithmetic: ss.LogArithmetic) -> list[torch.Tensor]:
    """Layers large enough to be split among threads."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(16, 24, 3, stride=2, groups=2), nn.Hardtanh(), nn.AvgPool2d(2, 1), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(24 * 4, 70), nn.Tanh(), nn.Linear(70, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    x, y = torch.randn(20, 3, 14, 14), torch.randint(0, 10, (20,))
    update = FINE if arithmetic is LNS12 else None
    with ss.use(arithmetic, update=update):
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return state(model)


def _assert_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_codes_depend_on_nothing_but_the_seed(form: str) -> None:
    before, isa = torch.get_num_threads(), native.current_isa()
    want = _trained(FORMS[form])
    assert all(torch.isfinite(t).all() for t in want)
    try:
        for name in native.available_isas():
            native.set_isa(name)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                _assert_equal(want, _trained(FORMS[form]))
    finally:
        torch.set_num_threads(before)
        native.set_isa(isa)


def test_another_adder_gives_other_codes() -> None:
    """The equality above is not for want of difference."""
    first, second = (_trained(FORMS[name]) for name in ("blocked, operand accumulator", "lookup"))
    assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
