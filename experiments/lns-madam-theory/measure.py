"""How much of a weight update does rounding to a logarithmic format destroy?

The theory of LNS-Madam (Zhao et al. 2021, arXiv 2106.13914) made visible: weights on the grid of an update format
take one step of each rule in float64, the result is rounded back to the grid, and the error in octaves stands beside
the bounds; ``slipstick.optim.update_error`` says what exactly is bounded. Two sets of weights and gradients:

* synthetic: log2|w| uniform within one octave and normal gradients, so that magnitude, learning rate and step of the
  grid are controlled. Where one of them varies, the others stay at |w| = 1, lr = 2^-10, gamma = 128 (12 bits).
* digits: the weights of the small CNN after three epochs on the embedded digits, and the gradients of its last 32
  steps; where the learning rate is fixed, each rule has a usual one.

Optimisers see the earlier gradients at a learning rate of 0, so that their moments are warm. Writes
lns-madam-theory.json (every number), synthetic.png and digits.png. The same seed gives the same numbers.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from figure import save_figure
from points import measured
from rules import RULES, USUAL_LR
from sources import HISTORY, Source, digits, synthetic

import slipstick as ss
from slipstick.train.progress import progress_bar

WIDTHS = range(16, 9, -1)
EXPONENTS = range(-12, 3)  # of the weights' magnitudes
RATES = [2.0**k for k in range(-12, -1)]
FIXED_WIDTH, FIXED_RATE = 12, 2.0**-10
SYNTHETIC_WEIGHTS = 4096
LEAST_WEIGHTS = 100  # of the network in an octave, to be a point
TITLES = {
    "synthetic": r"Drawn weights and gradients; $|w| \approx 1$, $\eta = 2^{-10}$, $\gamma = 128$ unless varied",
    "digits": r"Weights and gradients of a CNN on digits; each rule's usual $\eta$, $\gamma = 128$ unless varied",
}

Points = list[dict[str, Any]]


def synthetic_points(rule: str, draws: int, seed: int) -> dict[str, Points]:
    """The sweeps of a rule with drawn weights and gradients."""
    by_magnitude = []
    for exponent in EXPONENTS:
        source = synthetic(exponent, SYNTHETIC_WEIGHTS, seed)
        point = measured([source], rule, FIXED_RATE, FIXED_WIDTH, draws, seed).point()
        by_magnitude.append({"magnitude": 2.0**exponent, **point})
    unit = synthetic(0, SYNTHETIC_WEIGHTS, seed)
    return {"magnitude": by_magnitude, **_other_sweeps([unit], rule, FIXED_RATE, draws, seed)}


def digits_points(sources: Sequence[Source], rule: str, draws: int, seed: int) -> dict[str, Points]:
    """The sweeps of a rule with the weights and gradients of the network."""
    step = measured(sources, rule, USUAL_LR[rule], FIXED_WIDTH, draws, seed)
    octave = step.weight.abs().log2().round()
    populated = [exponent for exponent in EXPONENTS if int((octave == exponent).sum()) >= LEAST_WEIGHTS]
    by_magnitude = [{"magnitude": 2.0**exponent, **step.point(octave == exponent)} for exponent in populated]
    return {"magnitude": by_magnitude, **_other_sweeps(sources, rule, USUAL_LR[rule], draws, seed)}


def _other_sweeps(sources: Sequence[Source], rule: str, lr: float, draws: int, seed: int) -> dict[str, Points]:
    return {
        "lr": [measured(sources, rule, rate, FIXED_WIDTH, draws, seed).point() for rate in RATES],
        "base_factor": [measured(sources, rule, lr, bits, draws, seed).point() for bits in WIDTHS],
    }


def _of_all_rules(description: str, points: Callable[[str], dict[str, Points]]) -> dict[str, Points]:
    sweeps: dict[str, Points] = {}
    with progress_bar(description, len(RULES)) as advance:
        for rule in RULES:
            for sweep, added in points(rule).items():
                sweeps.setdefault(sweep, []).extend(added)
            advance(1)
    return sweeps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/lns-madam-theory"), help="folder for the results")
    parser.add_argument("--seed", type=int, default=0, help="of weights, gradients, training and rounding")
    parser.add_argument("--samples", type=int, default=16, help="stochastic roundings of every weight")
    parser.add_argument("--steps", type=int, default=63, help="of training on digits; 21 are an epoch")
    arguments = parser.parse_args()
    for name, least in (("samples", 1), ("steps", HISTORY)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} {getattr(arguments, name)}: must be at least {least}")
    torch.set_num_threads(1)  # PyTorch's own bits in the training depend on it
    arguments.out.mkdir(parents=True, exist_ok=True)
    draws, seed = arguments.samples, arguments.seed
    with progress_bar("training on digits", arguments.steps) as advance:
        sources, accuracy = digits(seed, arguments.steps, advance)
    result = {
        "synthetic": _of_all_rules("drawn weights", lambda rule: synthetic_points(rule, draws, seed)),
        "digits": _of_all_rules("the network's weights", lambda rule: digits_points(sources, rule, draws, seed)),
    }
    for name, title in TITLES.items():
        save_figure(arguments.out / f"{name}.png", result[name], title)
    settings = {"seed": seed, "samples": draws, "steps": arguments.steps, "training_accuracy": accuracy}
    versions = {"slipstick": ss.__version__, "torch": str(torch.__version__)}
    text = json.dumps({**versions, **settings, **result}, indent=1)
    (arguments.out / "lns-madam-theory.json").write_text(text + "\n")
    print(f"{arguments.out}: lns-madam-theory.json, {', '.join(f'{name}.png' for name in TITLES)}")


if __name__ == "__main__":
    main()
