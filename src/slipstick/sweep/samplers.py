"""Samplers and pruners of a study.

Every trial is sampled by generators seeded by the study's seed and the trial's number alone. So a point of the sampler
"random" depends on nothing else, however many workers there are and however often they were interrupted; the others
learn from the trials that have ended, and with one worker are as repeatable.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from slipstick.sweep.config import PrunerChoice, SamplerChoice
from slipstick.sweep.space import Choices, Entry, Value

_SEEDS = 1_000_003


def suggest(trial: optuna.Trial, name: str, entry: Entry) -> Value:
    """The value that an entry of the space has in a trial."""
    if isinstance(entry, Choices):
        chosen = trial.suggest_categorical(name, entry.values)
        assert chosen is not None, "TOML has no null"
        return chosen
    if entry.is_integer:
        low, high, step = int(entry.low), int(entry.high), int(entry.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=entry.log)
    return trial.suggest_float(name, entry.low, entry.high, step=entry.step, log=entry.log)


def build_pruner(choice: PrunerChoice) -> BasePruner:
    match choice.name:
        case "median":
            return MedianPruner(n_startup_trials=choice.startup, n_warmup_steps=choice.warmup)
        case "hyperband":
            return HyperbandPruner(min_resource=max(1, choice.warmup))
        case _:
            return NopPruner()


class SeededByTrial(BaseSampler):
    """The chosen sampler, made anew for every trial. number: the user attribute that has the trial's number."""

    def __init__(self, choice: SamplerChoice, number: str) -> None:
        self._choice, self._number = choice, number
        self._sampler = self._build(0)

    def _build(self, number: int) -> BaseSampler:
        seed = (self._choice.seed * _SEEDS + number) % 2**32
        match self._choice.name:
            case "tpe":
                return TPESampler(seed=seed, n_startup_trials=self._choice.startup)
            case "nsga2":
                return NSGAIISampler(seed=seed, population_size=self._choice.population)
            case _:  # the points of a grid are fixed when their trials are made
                return RandomSampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler = self._build(trial.user_attrs.get(self._number, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)
