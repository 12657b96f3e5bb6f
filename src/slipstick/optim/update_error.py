"""The error of rounding an updated weight to a logarithmic format, and the bounds of LNS-Madam's theory on it.

After Zhao et al. 2021 (arXiv 2106.13914); the derivation is ours. A rule makes W' of a weight W, Q rounds log2|W'| to a
multiple of 1 / gamma octave by stochastic rounding (unbiased in the logarithm), and over the d weights

    r = sum_i (log2|Q(W'_i)| - log2|W'_i|)^2,   the square of an l2 norm, in octaves^2.

E is over the draws of the rounding, weights and gradients given. With f the fraction of gamma log2|W'_i|, which is the
probability of the upper neighbour, a weight adds f (1 - f) / gamma^2 to E r. Since f (1 - f) <= min(|x|, 1/4) for
the fraction f of x, and gamma log2|W_i| is an integer where W is on the grid:

    any rule:               E r <= d / (4 gamma^2)
    any rule, W on grid:    E r <= ||m||_1 / gamma <= sqrt(d) / gamma ||m||_2,   m_i = log2|W'_i / W_i|
    W' = W - eta g:         E r <= sqrt(d) / gamma ||log2|W - eta g|| ||_2
    W' = W 2^(-eta g sign W), W on grid:        E r <= sqrt(d) eta / gamma ||g||_2
    W' = W 2^(-eta sign(g) sign(W)), W on grid: E r <= d eta / gamma

The last three are the paper's, of GD, MUL and signMUL. Those of MUL and signMUL are the second line, because there
m = -eta g sign(W). That of GD does not use the grid: it does not shrink with eta, it depends on the unit that weights
have (log2 1 = 0), and it is above the first line unless log2|W'| is below 1 / (4 gamma) in root mean square.

Rounding to nearest has min(f, 1 - f)^2 for f (1 - f), which is no more, so all lines hold for it as well. Assumed: no
weight leaves the range of the format. No bounds are the GD line with |W| - eta g for |W - eta g| (they differ where
W < 0 or the step crosses zero), the last two for weights off the grid, and any of them for the norm in place of its
square.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from slipstick.errors import SpecificationError
from slipstick.formats import MultiBaseLNS


def gradient_descent(weight: torch.Tensor, gradient: torch.Tensor, lr: float) -> torch.Tensor:
    """GD of Zhao et al. 2021: W - eta g."""
    return weight - lr * gradient


def multiplicative(weight: torch.Tensor, gradient: torch.Tensor, lr: float) -> torch.Tensor:
    """MUL of Zhao et al. 2021: log2|W| moves by -eta g sign(W). With g* for g it is Madam."""
    return weight * torch.exp2(-lr * gradient * weight.sign())


def sign_multiplicative(weight: torch.Tensor, gradient: torch.Tensor, lr: float) -> torch.Tensor:
    """signMUL of Zhao et al. 2021: MUL of the gradient's sign."""
    return multiplicative(weight, gradient.sign(), lr)


def expected_square(updated: torch.Tensor, base_factor: int) -> torch.Tensor:
    """f (1 - f) / gamma^2 for each number before rounding, in octaves^2: E of the squared error; 0 for a 0.

    updated: float64, in units of any power of two. Rounding: stochastic in the logarithm.
    """
    steps = torch.where(updated == 0, 1.0, updated).abs().log2() * base_factor
    fraction = steps - steps.floor()
    return fraction * (1 - fraction) / base_factor**2


def bound_of_gd(updated: torch.Tensor, base_factor: int) -> float:
    """sqrt(d) / gamma || log2|W'| ||, W' = W - eta g before rounding; infinite where a weight becomes 0."""
    return math.sqrt(updated.numel()) / base_factor * float(updated.double().abs().log2().norm())


def bound_of_mul(gradient: torch.Tensor, lr: float, base_factor: int) -> float:
    """sqrt(d) eta / gamma ||g||, for weights on the grid. gradient: g, or the normalised g* of Madam."""
    return math.sqrt(gradient.numel()) * lr / base_factor * float(gradient.double().norm())


def bound_of_sign_mul(count: int, lr: float, base_factor: int) -> float:
    """d eta / gamma, for weights on the grid. count: d."""
    return count * lr / base_factor


def bound_of_moves(moves: torch.Tensor, base_factor: int) -> float:
    """sum_i min(|m_i| / gamma, 1 / (4 gamma^2)), for weights on the grid that move by m_i octaves under any rule."""
    return float((moves.double().abs() / base_factor).clamp(max=0.25 / base_factor**2).sum())


def bound_of_rounding(count: int, base_factor: int) -> float:
    """d / (4 gamma^2), whatever the rule and the weights. count: d."""
    return count / (4 * base_factor**2)


def on_grid(weight: torch.Tensor, format: MultiBaseLNS, scale: float) -> torch.Tensor:
    """``weight`` rounded to the format, in float64: s 2^(xt / gamma) to 2^-52 where a float32 has it to 2^-24."""
    return _numbers(format.encode(weight, scale=scale), format, scale)


@dataclass(frozen=True, eq=False)
class UpdateError:
    """What rounding did to each updated weight, the mean over draws; float64 of the shape of the weights.

    move: m = log2|W' / W|, in octaves. error: log2|Q(W') / W'|. square: error^2. unchanged: whether Q(W') = W; with
    several draws, how often. asked, done: W' - W and Q(W') - W, in units of the weights.
    valid: whether W and W' are no zeros and W' is in the range of the format; elsewhere the others mean nothing.
    """

    move: torch.Tensor
    error: torch.Tensor
    square: torch.Tensor
    unchanged: torch.Tensor
    asked: torch.Tensor
    done: torch.Tensor
    valid: torch.Tensor

    def summary(self, chosen: torch.Tensor | None = None) -> dict[str, float]:
        """Over the valid weights, or the ``chosen`` (bool) of them; NaN where a quantity is of no weight at all.

        count, out_of_range: valid weights, and the share of the others. rms, move_rms: root mean squares, octaves.
        bias: the mean of error sign(m), so that a rounding that loses every update has minus the mean of |m|.
        unchanged: the share of all weights. lost: the unchanged among those with m other than 0. kept: the share of
        sum |W' - W| that happens, 1 where nothing is lost on balance.
        """
        chosen = torch.ones_like(self.valid) if chosen is None else chosen
        valid = self.valid & chosen
        move, unchanged = self.move[valid], self.unchanged[valid]
        along = self.error[valid] * move.sign()
        moving = move != 0
        asked = self.asked[valid]
        return {
            "count": int(valid.sum()),
            "out_of_range": 1 - _mean(valid[chosen].double()),
            "rms": math.sqrt(_mean(self.square[valid])),
            "move_rms": math.sqrt(_mean(move.square())),
            "bias": _mean(along),
            "unchanged": _mean(unchanged),
            "lost": _mean(unchanged[moving]),
            "kept": _mean((self.done[valid] * asked.sign())[moving]) / _mean(asked[moving].abs()),
        }


def measure_update(
    weight: torch.Tensor,
    updated: torch.Tensor,
    format: MultiBaseLNS,
    *,
    scale: float,
    rounding: Literal["nearest", "stochastic-log"] = "nearest",
    generator: torch.Generator | None = None,
    draws: int = 1,
) -> UpdateError:
    """Round ``updated``, which a rule made of ``weight``, to the format, and compare.

    weight: on the grid (``on_grid``), float64. updated: float64, before rounding. draws: how many times to round
    stochastically. The probabilities are those of the format's float32 numbers, within 2^-23 gamma.
    Raises SpecificationError for tensors of different shapes, a format with a zero (log2 0 has no error) and what
    ``format.encode`` refuses.
    """
    if format.zero:
        raise SpecificationError(f"measure_update: {format} rounds to zero, which has no octave; use zero=False")
    if weight.shape != updated.shape:
        raise SpecificationError(
            f"measure_update: {tuple(weight.shape)} weights, but {tuple(updated.shape)} updated ones"
        )
    start = format.encode(weight, scale=scale)
    codes = format.encode(updated.expand(draws, *updated.shape), scale=scale, rounding=rounding, generator=generator)
    magnitude = updated.abs()
    valid = (weight != 0) & (magnitude >= format.smallest * scale) & (magnitude <= format.largest * scale)
    before, after = (torch.where(valid, x.double().abs(), 1.0).log2() for x in (weight, updated))
    error = _logarithm(codes, format, scale) - after
    rounded = _numbers(codes, format, scale).mean(0)
    return UpdateError(
        move=after - before,
        error=error.mean(0),
        square=error.square().mean(0),
        unchanged=(codes == start).double().mean(0),
        asked=updated.double() - weight.double(),
        done=rounded - weight.double(),
        valid=valid,
    )


def _logarithm(codes: torch.Tensor, format: MultiBaseLNS, scale: float) -> torch.Tensor:
    """log2 of the magnitudes of codes, float64."""
    field = codes & ((1 << (format.bits - 1)) - 1)
    return field.double() / format.base_factor + math.log2(scale)


def _numbers(codes: torch.Tensor, format: MultiBaseLNS, scale: float) -> torch.Tensor:
    """The numbers of codes, float64, of a format without a zero."""
    magnitude = torch.exp2(_logarithm(codes, format, scale))
    return torch.where(codes >> (format.bits - 1) == 1, -magnitude, magnitude)


def _mean(values: torch.Tensor) -> float:
    return float(values.mean()) if values.numel() else math.nan
