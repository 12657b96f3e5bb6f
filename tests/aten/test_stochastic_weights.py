"""After every optimiser step weights are rounded to the operands' format at random."""

import math

import numpy as np
import pytest
import torch
from small import COARSE, FINE, LNS12, is_on, network, train
from torch import nn

import slipstick as ss
from slipstick.aten.stochastic_weights import StochasticWeights

DROPPED = FINE.format.frac_bits - LNS12.format.frac_bits


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounded(x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return StochasticWeights(LNS12, FINE, generator(seed)).rounded(x)


def every_fine_number() -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    log = np.arange(-FINE.format.max_log, FINE.format.max_log + 1)
    sign = np.arange(len(log)) % 2
    return sign, log, torch.from_numpy(FINE.format.numbers(sign, log))


def test_every_number_goes_where_its_draw_sends_it() -> None:
    sign, log, x = every_fine_number()
    draws = torch.randint(1 << DROPPED, x.shape, generator=generator(3)).tolist()
    top = LNS12.format.max_log
    expected = [
        (-1) ** int(s) * 2.0 ** (max(-top, min(top, math.floor((int(n) + r) / 2**DROPPED))) / 2**5)
        for s, n, r in zip(sign, log, draws, strict=True)
    ]
    assert torch.equal(rounded(x, 3), torch.tensor(expected, dtype=torch.float64).float())


def test_zero_stays_zero_and_numbers_of_the_coarse_grid_stay_where_they_are() -> None:
    log = np.arange(-LNS12.format.max_log, LNS12.format.max_log + 1)
    coarse = torch.from_numpy(LNS12.format.numbers(np.zeros_like(log), log))
    for seed in range(5):
        assert torch.equal(rounded(torch.zeros(9), seed), torch.zeros(9))
        assert torch.equal(rounded(coarse, seed), coarse)


def test_the_logarithm_is_unbiased() -> None:
    draws = 1 << 14
    for low_bits in (1, 5, (1 << DROPPED) - 1):
        x = torch.from_numpy(FINE.format.numbers(np.zeros(draws, np.int64), np.full(draws, low_bits)))
        up = (ss.codes(rounded(x), LNS12.format) == 1).double().mean().item()
        chance = low_bits / (1 << DROPPED)
        assert abs(up - chance) < 5 * math.sqrt(chance * (1 - chance) / draws)


@pytest.mark.parametrize("foreach", [False, True])
def test_after_a_step_weights_are_coarse_and_state_is_fine(foreach: bool) -> None:
    model = ss.snap_(network(), LNS12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=foreach)
    with ss.use(LNS12, update=FINE, stochastic=generator()):
        for _ in range(2):
            train(model, optimizer, steps=1)
            assert all(is_on(p, LNS12) for p in model.parameters())
    momenta = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert all(is_on(m, FINE) for m in momenta)
    assert not all(is_on(m, LNS12) for m in momenta)


def weights_after(seed: int) -> list[torch.Tensor]:
    model = ss.snap_(network(), LNS12)
    with ss.use(LNS12, update=FINE, stochastic=generator(seed)):
        train(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    return [p.detach().clone() for p in model.parameters()]


def test_what_is_random_comes_from_the_generator_alone() -> None:
    first = weights_after(1)
    assert all(torch.equal(a, b) for a, b in zip(first, weights_after(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, weights_after(2), strict=True))
    before = torch.get_rng_state()
    rounded(torch.ones(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_small_updates_move_weights_in_the_mean_where_rounding_to_nearest_loses_them() -> None:
    """4000 weights of 1, each lowered by 1/400 ten times: nearest keeps them, a step of the grid being 1/46."""
    for stochastic, low, high in ((None, 1.0, 1.0), (generator(), 0.972, 0.978)):
        weights = nn.Parameter(torch.ones(4000))
        optimizer = torch.optim.SGD([weights], lr=1 / 400)
        with ss.use(LNS12, update=FINE, stochastic=stochastic):
            for _ in range(10):
                weights.grad = torch.ones(4000)
                optimizer.step()
                if stochastic is None:
                    ss.snap_(weights, LNS12)
        assert low <= weights.mean().item() <= high


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"stochastic": generator()}, "needs update="),
        ({"update": LNS12, "stochastic": generator()}, "no more fraction bits"),
        ({"update": FINE, "stochastic": 7}, "must be a torch.Generator"),
        ({"update": FINE, "stochastic": generator(), "override": {"0": COARSE}}, "one format"),
    ],
)
def test_what_cannot_be_rounded_is_one_line(arguments, says: str) -> None:
    with pytest.raises(ss.SpecificationError, match=says) as error:
        ss.use(LNS12, **arguments)
    assert "\n" not in str(error.value)
