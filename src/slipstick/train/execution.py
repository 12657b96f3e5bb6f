"""What a run is executed in, from an experiment's text to the contexts of ``slipstick.use`` or the quantised model."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import nn

import slipstick as ss
from slipstick.arithmetic import Arithmetic, LogArithmetic
from slipstick.aten.recording import DistanceRecorder
from slipstick.formats import LNS
from slipstick.quantize import Quantization, Recipe
from slipstick.train.config import Experiment, resolve_arithmetic
from slipstick.train.naming import tables_hash


@dataclass(frozen=True)
class Execution:
    """compute: None means PyTorch's own float32. update: of weights and state; None means as ``compute``.

    recipe: rounds the tensors of float32 training by role. override: of single modules by name.
    """

    compute: Arithmetic | None
    update: Arithmetic | None = None
    recipe: Recipe | None = None
    override: Mapping[str, LogArithmetic] = field(default_factory=dict)

    @classmethod
    def of(cls, experiment: Experiment) -> "Execution":
        update = None if experiment.update is None else resolve_arithmetic(experiment.update)
        override = {name: resolve_arithmetic(text) for name, text in (experiment.override or {}).items()}
        logarithmic = {name: each for name, each in override.items() if isinstance(each, LogArithmetic)}
        return cls(resolve_arithmetic(experiment.arithmetic), update, experiment.recipe, logarithmic)

    def context(self, audit: bool = False, record: DistanceRecorder | None = None) -> AbstractContextManager[Any]:
        """Where the network, the loss and the optimiser run. With ``audit`` its value has an ``.audit``.

        record: measures distances, except in PyTorch's own float32.
        """
        if self.compute is None:
            return nullcontext()
        context: AbstractContextManager[Any] = ss.use(
            self.compute, update=self.update, audit=audit, record=record, override=self.override
        )
        return context

    def quantize(self, model: nn.Module, batches: Iterable[Any]) -> Quantization | None:
        """Attach the recipe, if there is one; ``batches`` calibrate the ranges that it measures beforehand."""
        if self.recipe is None:
            return None
        quantization = ss.quantize(model, self.recipe)
        if self.recipe.calibrates_activations:
            quantization.calibrate(batches)
        return quantization

    def snap_(self, model: nn.Module) -> None:
        """Put parameters and buffers on the grid that they are updated on."""
        if self.compute is not None:
            ss.snap_(model, self.update or self.compute)

    @property
    def formats(self) -> tuple[LNS, ...]:
        """On whose grids weights and the optimiser's state lie: of the update, then of single modules."""
        arithmetics = (self.update or self.compute, *self.override.values())
        return tuple(dict.fromkeys(each.format for each in arithmetics if isinstance(each, LogArithmetic)))

    def describe(self) -> dict[str, Any]:
        """For checkpoints: the arithmetics as data, and hashes of what their adders do; the recipe as data."""
        arithmetics = {"compute": self.compute, "update": self.update}
        arithmetics |= {f"override {name}": each for name, each in self.override.items()}
        described: dict[str, Any] = {
            role: None if a is None else {"arithmetic": a.to_dict(), "tables_sha256": tables_hash(a)}
            for role, a in arithmetics.items()
        }
        return described if self.recipe is None else {**described, "recipe": self.recipe.to_dict()}
