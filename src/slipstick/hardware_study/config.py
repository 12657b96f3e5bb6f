"""What a hardware study is: plain data, validated. An unknown key or a width that cannot be is one clear line."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from slipstick.arithmetic import LinearAccumulate, LogArithmetic
from slipstick.errors import SpecificationError
from slipstick.formats import E4M3, E5M2, MultiBaseLNS
from slipstick.hardware.candidates import (
    Candidate,
    FixedCandidate,
    FloatCandidate,
    LinearAccumulateCandidate,
    LogCandidate,
)
from slipstick.hardware.exploration import Sweep
from slipstick.hardware.float_format import BF16, FP16, FP32, FloatFormat
from slipstick.hardware.models.fixed import FixedMac
from slipstick.hardware.models.floating import FloatMac
from slipstick.hardware.synthesis import Adder, Cover, FullAdders, Multiplier
from slipstick.train.config import ArithmeticField, Experiment, Model, Section, resolve_arithmetic
from slipstick.train.validated_toml import parse_toml, read_experiment_text, validate

FLOATS = {"fp32": FP32, "fp16": FP16, "bf16": BF16, "e4m3": FloatFormat.of(E4M3), "e5m2": FloatFormat.of(E5M2)}

FloatName = Literal["fp32", "fp16", "bf16", "e4m3", "e5m2"]


class LogUnit(Section):
    """A LogArithmetic: a line such as "LNS(5,5) hamad2025", or a table."""

    kind: Literal["log"]
    label: str | None = None
    arithmetic: ArithmeticField

    def candidate(self) -> Candidate:
        arithmetic = resolve_arithmetic(self.arithmetic)
        if not isinstance(arithmetic, LogArithmetic):
            raise SpecificationError(f"arithmetic = {self.arithmetic!r}: no logarithmic arithmetic; give an adder")
        return LogCandidate(arithmetic)


class LinearAccumulateUnit(Section):
    """Log multiply, integer accumulate (LNS-Madam). entries: of the conversion table; default: base_factor."""

    kind: Literal["linear-accumulate"]
    label: str | None = None
    bits: int = 8
    base_factor: int = 8
    entries: int | None = None
    accumulator_bits: int = 24

    def candidate(self) -> Candidate:
        format = MultiBaseLNS(self.bits, self.base_factor)
        return LinearAccumulateCandidate(LinearAccumulate(format, self.entries, bits=self.accumulator_bits))


class FixedUnit(Section):
    """Linear fixed point. overflow: "wrap" is the cheapest, and right where the accumulator is wide enough.
    multiplier: "booth" or "array" leaves the other out."""

    kind: Literal["fixed"]
    label: str | None = None
    bits: int
    accumulator_bits: int
    overflow: Literal["saturate", "wrap"] = "wrap"
    multiplier: Literal["any", "booth", "array"] = "any"

    def candidate(self) -> Candidate:
        mac = FixedMac(self.bits, self.bits, self.accumulator_bits, self.overflow)
        return FixedCandidate(mac, self.multiplier)


class FloatUnit(Section):
    """Floating point, fused."""

    kind: Literal["float"]
    label: str | None = None
    operands: FloatName
    accumulator: FloatName

    def candidate(self) -> Candidate:
        operands = FLOATS[self.operands]
        return FloatCandidate(FloatMac(operands, operands, FLOATS[self.accumulator]))


UnitChoice = Annotated[LogUnit | LinearAccumulateUnit | FixedUnit | FloatUnit, Field(discriminator="kind")]


class SweepChoice(Section):
    """See ``hardware.exploration.Sweep``."""

    targets: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1)] = Sweep.targets
    adders: Annotated[tuple[Adder, ...], Field(min_length=1)] = Sweep.adders
    covers: Annotated[tuple[Cover, ...], Field(min_length=1)] = Sweep.covers
    full_adders: Annotated[tuple[FullAdders, ...], Field(min_length=1)] = Sweep.full_adders
    multipliers: Annotated[tuple[Multiplier, ...], Field(min_length=1)] = Sweep.multipliers
    measured: Annotated[int, Field(ge=1)] = Sweep.measured

    def sweep(self) -> Sweep:
        return Sweep(**self.model_dump())


class Network(Section):
    """A network whose training step is priced: a model, or a program.

    image: channels, height, width; of a transformer nothing. program: "package.module:function", which takes no
        arguments and returns (model, inputs, loss), inputs (N, ...) and the loss a function of what the model gives;
        it runs on the device "meta", so that no number is computed and no memory taken.
    """

    name: str
    model: Model | None = None
    program: str | None = None
    image: tuple[int, int, int] = (3, 32, 32)
    classes: Annotated[int, Field(ge=2)] = 10
    batch: Annotated[int, Field(ge=1)] = 128

    @model_validator(mode="after")
    def _one_of_them(self) -> "Network":
        if (self.model is None) == (self.program is None):
            raise ValueError(f"network {self.name!r}: give a model or a program")
        return self


class HardwareStudy(Section):
    """Units, what flows through them, and what is asked of them.

    clock_ns: the period that every unit should keep to. baseline: label of the unit that ratios are against; default:
        the first. library: "nangate45", "osu018", or the path of a Liberty file.
    training: a float32 training whose operands are recorded, an experiment as for ``slipstick train``; without it
        operands are independent normal numbers. record_at: the steps at which they are, the last one ends it.
    cycles: for each role of products. vectors: random ones that RTL and software are compared on.
    proof_seconds: after which a formal proof of the netlist is given up; 0: none is tried.
    networks: whose training steps are priced.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    out: str = "runs"
    library: Annotated[str, Field(min_length=1)] = "nangate45"
    clock_ns: Annotated[float, Field(gt=0, le=1000)] = 2.5
    baseline: str | None = None
    training: Experiment | None = None
    record_at: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (10, 50, 100)
    cycles: Annotated[int, Field(ge=64, le=100_000)] = 2000
    vectors: Annotated[int, Field(ge=1000, le=10**8)] = 200_000
    proof_seconds: Annotated[float, Field(ge=0)] = 10.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    sweep: SweepChoice = SweepChoice()
    units: Annotated[tuple[UnitChoice, ...], Field(min_length=1)]
    networks: tuple[Network, ...] = ()

    @field_validator("units")
    @classmethod
    def _buildable(cls, units: tuple[Any, ...]) -> tuple[Any, ...]:
        for unit in units:
            try:
                unit.candidate()
            except SpecificationError as error:
                raise ValueError(str(error)) from None
        return units

    @model_validator(mode="after")
    def _consistent(self) -> "HardwareStudy":
        labels = self.labels
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"the unit {twice!r} is listed twice; keep one, or give labels")
        if self.baseline is not None and self.baseline not in labels:
            raise ValueError(f"baseline = {self.baseline!r}: no unit has this label; there are {', '.join(labels)}")
        if self.training is not None and not self.training.is_fp32:
            raise ValueError("training: operands are recorded in fp32; drop its arithmetic and recipe")
        if list(self.record_at) != sorted(set(self.record_at)):
            raise ValueError(f"record_at = {list(self.record_at)}: give ascending steps")
        return self

    @property
    def labels(self) -> list[str]:
        return [unit.label or unit.candidate().title for unit in self.units]

    @property
    def folder(self) -> Path:
        return Path(self.out) / self.name


def load_study(path: Path, overrides: tuple[str, ...] = (), out: Path | None = None) -> HardwareStudy:
    """The study of a TOML file. Raises SpecificationError naming file and key."""
    data = parse_toml(read_experiment_text(path), str(path), overrides)
    data.setdefault("name", path.stem)
    if out is not None:
        data["out"] = str(out)
    if isinstance(data.get("training"), dict):
        data["training"].setdefault("name", data["name"])
    return validate(HardwareStudy, data, str(path), overrides)
