"""What an experiment is: plain data, validated. Nothing here touches a tensor.

An experiment file is TOML. Every key is a field below; a key that is none, or a value that cannot be, is an error.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from slipstick.arithmetic import Arithmetic, LogArithmetic, arithmetic_from_dict, parse_arithmetic
from slipstick.precision.assignment import Assignment
from slipstick.precision.recipe import assignment_from, recipe_of, without_reasons
from slipstick.quantize import Recipe, recipe_from

FP32 = "fp32"
PYTHON_DOCS = "python-docs"
ACCUMULATOR_SGD = "accumulator-sgd"

ArithmeticText = str | dict[str, Any]


def resolve_arithmetic(given: ArithmeticText) -> Arithmetic | None:
    """The arithmetic that a text or a table means; None for "fp32", PyTorch's own."""
    if isinstance(given, dict):
        return arithmetic_from_dict(given)
    return None if given.strip().lower() == FP32 else parse_arithmetic(given)


def _resolvable(given: ArithmeticText) -> ArithmeticText:
    resolve_arithmetic(given)
    return given


ArithmeticField = Annotated[ArithmeticText, AfterValidator(_resolvable)]


def _is_recipe(given: str | dict[str, Any]) -> str | dict[str, Any]:
    recipe_from(given)
    return given


RecipeField = Annotated[str | dict[str, Any], AfterValidator(_is_recipe)]


def _assignment_data(given: str | dict[str, Any]) -> dict[str, Any]:
    return without_reasons(assignment_from(given)).to_dict()


AssignmentField = Annotated[str | dict[str, Any], AfterValidator(_assignment_data)]
"""The path of a JSON file, relative to the working directory; what it holds from then on."""

RunFolder = Annotated[str, Field(min_length=1), AfterValidator(lambda given: str(Path(given).expanduser().resolve()))]
"""Relative to the working directory where it is read, absolute from then on."""


def _power_of_two(given: float) -> float:
    if math.frexp(given)[0] != 0.5:
        raise ValueError(f"{given:g} is not a power of two; take e.g. 128")
    return given


class Section(BaseModel):
    """Base of all tables: frozen, no unknown keys, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Subset(Section):
    """Use only some images: the first of a fixed shuffle that no seed changes.

    Of text, train is the number of windows that make an epoch, and test chooses among the windows of the test part.
    """

    train: Annotated[int, Field(ge=1)] | None = None
    test: Annotated[int, Field(ge=1)] | None = None


class Augment(Section):
    """Random training-time changes. ``crop`` is the size cut out of the padded image (default: the image's own)."""

    flip: bool = False
    pad: Annotated[int, Field(ge=0, le=64)] = 0
    crop: Annotated[int, Field(ge=1)] | None = None


Width = Annotated[float, Field(gt=0, le=8)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class MLP(Section):
    """One hidden layer by default: 784-100-K of Sanyal et al. 2019, whose leaky ReLU has slope 2^-7."""

    name: Literal["mlp"]
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [100]
    activation: Literal["relu", "leaky"] = "relu"


class LeNet(Section):
    name: Literal["lenet"]


class SmallCNN(Section):
    """Three convolutions with batch normalisation for images of 8 to 32 pixels."""

    name: Literal["cnn"] = "cnn"
    width: Width = 1.0


class VGG(Section):
    """VGG with batch normalisation. head "papers": two hidden layers of 4096, dropout (Hamad et al. 2025)."""

    name: Literal["vgg11", "vgg16"]
    width: Width = 1.0
    head: Literal["papers", "linear"] = "papers"
    dropout: Dropout = 0.5


class ResNet(Section):
    name: Literal["resnet18", "resnet20"]
    width: Width = 1.0


class Transformer(Section):
    """Pre-norm transformer that predicts the next character from up to ``context`` before it.

    width: of every position's vector, shared out among the heads. The feed-forward layers are four times as wide.
    """

    name: Literal["transformer"]
    width: Annotated[int, Field(ge=1, le=4096)] = 64
    layers: Annotated[int, Field(ge=1, le=64)] = 2
    heads: Annotated[int, Field(ge=1)] = 4
    context: Annotated[int, Field(ge=1, le=4096)] = 64
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "Transformer":
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is not divisible by heads = {self.heads}")
        return self


Model = Annotated[MLP | LeNet | SmallCNN | VGG | ResNet | Transformer, Field(discriminator="name")]


class SGD(Section):
    name: Literal["sgd"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true needs momentum > 0")
        return self


class Adam(Section):
    name: Literal["adam", "adamw"]
    lr: Annotated[float, Field(gt=0)] = 0.001
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Additive(Section):
    """Of the parameters that Madam leaves to SGD: those of fewer than two dimensions."""

    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Madam(Section):
    """``slipstick.optim.Madam``, by default as released. p_scale = 0: no bound. base: 2 without weight decay, else e.

    The schedule scales additive.lr by the same factor as lr.
    """

    name: Literal["madam"]
    lr: Annotated[float, Field(gt=0)] = 2**-7
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    bias_correction: bool = True
    g_bound: Annotated[float, Field(gt=0)] = 10.0
    round_gradient: bool = True
    p_scale: Annotated[float, Field(ge=0)] = 3.0
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    base: Annotated[float, Field(gt=1)] | None = None
    additive: Additive | None = None


class AccumulatorSGD(Section):
    """``slipstick.optim.AccumulatorSGD``, for training with ``precision``. bound: of biases and batch normalisation."""

    name: Literal["accumulator-sgd"]
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: float = 0.0
    bound: Annotated[float, Field(gt=0)] | None = None

    @field_validator("momentum")
    @classmethod
    def _has_no_momentum(cls, given: float) -> float:
        if given != 0:
            raise ValueError("accumulator-sgd moves integer weights without momentum; drop it")
        return given


Optimizer = Annotated[SGD | Adam | Madam | AccumulatorSGD, Field(discriminator="name")]


class Constant(Section):
    kind: Literal["constant"] = "constant"


class Cosine(Section):
    """From optimizer.lr to eta_min along half a cosine over the whole run."""

    kind: Literal["cosine"]
    eta_min: Annotated[float, Field(ge=0)] = 0.0
    per: Literal["batch", "epoch"] = "batch"


class Step(Section):
    """optimizer.lr times factor at the start of each epoch listed (counted from 1)."""

    kind: Literal["step"]
    epochs: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1


Schedule = Annotated[Constant | Cosine | Step, Field(discriminator="kind")]


class Experiment(Section):
    """One training run.

    data: "digits", a Hugging Face dataset name, or a local folder of images; "python-docs" or the path of a .txt file,
        which go with the model "transformer".
    arithmetic: "fp32", a line such as "LNS(5,5) hamad2025", or a table (see ``slipstick.arithmetic``).
    update: the arithmetic of the optimiser step, weights and running statistics; default: as ``arithmetic``.
    override: arithmetics of single modules by their dotted names, see ``slipstick.use``.
    quantize: with arithmetic "fp32", the recipe that rounds tensors by role: its name, a table with the name under
        ``recipe`` and what is different, or a whole recipe.
    precision: with arithmetic "fp32" and the optimiser "accumulator-sgd", the JSON file of a precision assignment, by
        which tensors are rounded and weights kept.
    weights: the folder of a run that this one starts from: parameters and buffers of its checkpoint, not the
        optimiser. A recipe is attached, and its ranges are calibrated, with them in place.
    loss_scale: a power of two. Gradients are taken of the loss times it, and divided by it before the optimiser steps,
        all in the arithmetic: what keeps small gradients above the last bit of a linear format.
    micro_batches: a power of two. Every batch is cut into so many equal parts, computed one by one or by several
        processes (torchrun); their gradients are added in the arithmetic, by ``slipstick.train.micro_batches``.
    epochs: 0 trains nothing and evaluates the network as it starts.
    variant: words added to the run's name and folder. A comparison sets them where runs would share a folder.
    threads: changes speed; for "fp32" also PyTorch's own bits. Default: PyTorch's choice.
    log_every: steps from one row of metrics to the next.
    checkpoint_minutes, checkpoint_steps: how often, besides each epoch's end, a checkpoint is taken.
    checkpoint_keep: how many of the last checkpoints are kept, besides the one with the best test accuracy.
    watch_every: steps from one that ``slipstick.Watch`` looks at to the next, 0 for none. Default: 50; with a
        recipe, whose steps are short, 100; in float32 0.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    label: str | None = None
    out: str = "runs"
    data: Annotated[str, Field(min_length=1)] = "digits"
    image_size: Annotated[int, Field(ge=4, le=512)] | None = None
    subset: Subset = Subset()
    augment: Augment = Augment()
    model: Model = SmallCNN()
    arithmetic: ArithmeticField = FP32
    update: ArithmeticField | None = None
    override: dict[str, ArithmeticField] | None = None
    quantize: RecipeField | None = None
    precision: AssignmentField | None = None
    weights: RunFolder | None = None
    variant: Annotated[str, Field(min_length=1)] | None = None
    optimizer: Optimizer = SGD()
    schedule: Schedule = Constant()
    loss_scale: Annotated[float, Field(gt=0), AfterValidator(_power_of_two)] = 1.0
    batch: Annotated[int, Field(ge=2)] = 64
    micro_batches: Annotated[int, Field(ge=1), AfterValidator(_power_of_two)] = 1
    epochs: Annotated[int, Field(ge=0)] = 10
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    log_every: Annotated[int, Field(ge=1)] = 20
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    checkpoint_keep: Annotated[int, Field(ge=1)] = 3
    watch_every: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _update_fits(self) -> "Experiment":
        floats = resolve_arithmetic(self.arithmetic) is None
        if self.update is not None and (floats != (resolve_arithmetic(self.update) is None)):
            raise ValueError(f"update = {self.update!r} does not go with arithmetic = {self.arithmetic!r}; drop it")
        if self.quantize is not None and not floats:
            raise ValueError(f"quantize rounds fp32 training; it does not go with arithmetic = {self.arithmetic!r}")
        for name, text in (self.override or {}).items():
            if floats or not isinstance(resolve_arithmetic(text), LogArithmetic):
                raise ValueError(f"override {name!r} = {text!r} does not go with arithmetic = {self.arithmetic!r}")
        return self

    @model_validator(mode="after")
    def _micro_batches_fit(self) -> "Experiment":
        if self.batch % self.micro_batches:
            raise ValueError(
                f"batch = {self.batch} cannot be cut into micro_batches = {self.micro_batches} equal parts"
            )
        if self.micro_batches > 1 and (self.quantize is not None or self.precision is not None):
            raise ValueError(
                "micro_batches adds gradients in an arithmetic; it does not go with quantize or precision; drop it"
            )
        return self

    @model_validator(mode="after")
    def _precision_fits(self) -> "Experiment":
        accumulates = isinstance(self.optimizer, AccumulatorSGD)
        if self.precision is None:
            if accumulates:
                raise ValueError("optimizer 'accumulator-sgd' needs an assignment; give precision = its file")
            return self
        if resolve_arithmetic(self.arithmetic) is not None:
            raise ValueError(f"precision rounds fp32 training; it does not go with arithmetic = {self.arithmetic!r}")
        if self.quantize is not None:
            raise ValueError("precision and quantize both say how tensors are rounded; keep one")
        if not accumulates:
            raise ValueError(
                f"precision goes with optimizer {ACCUMULATOR_SGD!r}, which keeps its accumulators, "
                f"not {self.optimizer.name!r}"
            )
        return self

    @model_validator(mode="after")
    def _model_reads_data(self) -> "Experiment":
        if self.reads_text and not isinstance(self.model, Transformer):
            raise ValueError(f"data = {self.data!r} is text, model {self.model.name!r} reads images; use transformer")
        if not self.reads_text and isinstance(self.model, Transformer):
            raise ValueError(
                f"model 'transformer' reads text, not data = {self.data!r}; use {PYTHON_DOCS!r} or the path of a .txt"
            )
        if self.reads_text and (self.image_size is not None or self.augment != Augment()):
            raise ValueError(f"image_size and augment change images; data = {self.data!r} is text; drop them")
        return self

    @property
    def reads_text(self) -> bool:
        """Whether ``data`` is text."""
        return self.data == PYTHON_DOCS or self.data.lower().endswith(".txt")

    @property
    def is_fp32(self) -> bool:
        """Whether everything is PyTorch's own float32."""
        return resolve_arithmetic(self.arithmetic) is None and self.quantize is None and self.precision is None

    @property
    def assignment(self) -> Assignment | None:
        """The assignment that ``precision`` means."""
        return None if self.precision is None else assignment_from(self.precision)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe that ``quantize`` or ``precision`` means."""
        if (assignment := self.assignment) is not None:
            return recipe_of(assignment)
        return None if self.quantize is None else recipe_from(self.quantize)


class RunChoice(Section):
    """What distinguishes one run of a comparison from the others."""

    arithmetic: ArithmeticField
    update: ArithmeticField | None = None
    override: dict[str, ArithmeticField] | None = None
    label: str | None = None
    quantize: RecipeField | None = None
    precision: AssignmentField | None = None
    optimizer: Optimizer | None = None
    weights: RunFolder | None = None


class Comparison(Section):
    """The same experiment in several arithmetics: same seed, same batches, same budget."""

    name: str
    out: str
    runs: tuple[Experiment, ...]
