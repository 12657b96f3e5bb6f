"""What every quantiser format offers: integer codes, the numbers they stand for, and rounding between them.

    codes = format.encode(x, rounding="nearest", generator=None, scale=None)     int32 bit patterns, zero-extended
    numbers = format.decode(codes, scale=None)                                   float32, correctly rounded
    format.quantize(x, ...) = format.decode(format.encode(x, ...), ...)          in the dtype of x

Rounding "nearest" is the format's own rule. "stochastic" picks one of the two neighbouring numbers lo <= x <= hi,
hi with probability (x - lo) / (hi - lo), so that the mean of the results is x; beyond the range it saturates as
"nearest" does, and a number of the format never moves. Its draws are uniform multiples of 2^-24 below 1, one for each
element in logical order, from an explicit generator; a mean is therefore off by at most 2^-23 of a step.

A scale s > 0 (a float, or a float32 tensor that broadcasts to x) makes the numbers s * v for each number v of the
format. No decision rests on the last bit of a libm function: the same input gives the same code everywhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from math import frexp
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch.utils._python_dispatch import _disable_current_modes

from slipstick.errors import NonFiniteError, SpecificationError

Rounding = Literal["nearest", "stochastic", "stochastic-log"]
Dims = int | tuple[int, ...]

_PIECE = 1 << 17  # elements; the temporaries of a piece stay in cache and out of the page-fault handler
SMALLEST_NORMAL = 2.0**-126  # of float32
_LIMIT = (1 - 2.0**-23) * 2.0**128  # a scaled number below this stays finite when it is rounded to float32

_KINDS: dict[str, type["Quantiser"]] = {}


class Quantiser(ABC):
    """A finite set of numbers with integer codes, to which tensors are rounded.

    Formats are frozen dataclasses: equal, hashed and written to a dict by their fields.
    """

    roundings: ClassVar[tuple[str, ...]] = ("nearest", "stochastic")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _KINDS[cls.__name__] = cls

    @property
    @abstractmethod
    def width(self) -> int:
        """Bits of a code as stored, the sign included."""

    @property
    @abstractmethod
    def largest(self) -> float:
        """The largest number, at scale 1."""

    @property
    @abstractmethod
    def smallest(self) -> float:
        """The smallest positive number, at scale 1."""

    @property
    def smallest_scale(self) -> float:
        """Scales must be at least this: below it numbers would leave the normal float32 range."""
        return SMALLEST_NORMAL

    @property
    @abstractmethod
    def values(self) -> torch.Tensor:
        """Every finite number of the format at scale 1, ascending, float32; zero once."""

    def encode(
        self,
        x: torch.Tensor,
        *,
        rounding: Rounding = "nearest",
        generator: torch.Generator | None = None,
        scale: float | torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Codes (int32, the shape of ``x``) of float32 or float64 numbers.

        Raises NonFiniteError for NaN, SpecificationError for another dtype, for a scale out of range, and for a
        stochastic rounding without a generator.
        """
        with _disable_current_modes():
            return self._by_pieces(self._encode, torch.int32, x, rounding, generator, scale)

    def decode(self, codes: torch.Tensor, *, scale: float | torch.Tensor | None = None) -> torch.Tensor:
        """The float32 numbers of integer codes. Raises SpecificationError for a pattern that is no number."""
        with _disable_current_modes():
            if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
                raise SpecificationError(f"{self}.decode: codes are integers, not {codes.dtype}")
            codes = codes if codes.dtype == torch.int64 else codes.to(torch.int32)
            bad = self._no_codes(codes)
            if bool(bad.any()):
                code = int(codes[bad].flatten()[0])
                raise SpecificationError(f"{self}: {code} is not a code; use the patterns that encode returns")
            numbers = torch.empty((), dtype=torch.float32, device=codes.device).expand(codes.shape)
            return self._decode(codes.to(torch.int32), self._place(self._scale(scale, numbers), numbers))

    def quantize(
        self,
        x: torch.Tensor,
        *,
        rounding: Rounding = "nearest",
        generator: torch.Generator | None = None,
        scale: float | torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``x`` rounded to the format: decode(encode(x)) in the dtype of ``x``; same errors as encode."""
        with _disable_current_modes():
            return self._by_pieces(self._quantize, x.dtype, x, rounding, generator, scale)

    def scale_of(self, x: torch.Tensor, dim: Dims | None = None, power_of_two: bool = False) -> torch.Tensor:
        """The scale that maps max|x| to the largest number of the format.

        x: float32 or float64. dim: None for one scale (a tensor without dimensions), or the dimensions whose every
            index has a scale of its own; the others are kept with length 1, so the scale broadcasts to ``x``.
        power_of_two: the smallest power of two that leaves max|x| in range.

        A scale is at least ``smallest_scale``, what an all-zero or an empty tensor gives. Raises NonFiniteError
        for NaN and infinity.
        """
        with _disable_current_modes():
            peak = self._peak(self._accepted(x), dim).to(torch.float64)
            if not bool((peak < 2.0**128).all()):
                raise NonFiniteError(f"{self}.scale_of: max|x| is beyond float32; clip x first")
            highest = _LIMIT / self.largest
            ratio = (peak / self.largest).clamp(self.smallest_scale, highest * (1 - 2.0**-23))
            if not power_of_two:
                return ratio.to(torch.float32)
            exponent = power_of_two_above(ratio).clamp(max=frexp(highest)[1] - 1)
            return ((exponent + 127) << 23).view(torch.float32)

    def to_dict(self) -> dict[str, Any]:
        """The fields, and under "format" the name of the class."""
        return {"format": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The format that ``to_dict`` described. ``Quantiser.from_dict`` reads any of them."""
        given = dict(data)
        name = given.pop("format", cls.__name__)
        known = {k: v for k, v in _KINDS.items() if issubclass(v, cls) and is_dataclass(v)}
        if not isinstance(name, str) or name not in known:
            raise SpecificationError(f"format={name!r}: choose {' or '.join(sorted(known))}")
        kind = known[name]
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        for key in given:
            if key not in names:
                raise SpecificationError(f"{name}: unknown field {key!r}; the fields are {', '.join(names)}")
        try:
            return cast(Self, kind(**given))
        except TypeError as error:
            raise SpecificationError(f"{name}: {str(error).removeprefix(f'{name}.__init__() ')}") from None

    @abstractmethod
    def _encode(self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any) -> torch.Tensor: ...

    @abstractmethod
    def _decode(self, codes: torch.Tensor, place: Any) -> torch.Tensor: ...

    @abstractmethod
    def _quantize(
        self, x: torch.Tensor, rounding: Rounding, draws: torch.Tensor | None, place: Any
    ) -> torch.Tensor: ...

    @abstractmethod
    def _no_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Where ``codes`` holds integers that are no code."""

    def _place(self, scale: torch.Tensor | None, like: torch.Tensor) -> Any:
        """What rounding ``like`` needs to know of its scale: here the scale itself."""
        return scale

    def _by_pieces(
        self,
        work: Callable[[torch.Tensor, Rounding, torch.Tensor | None, Any], torch.Tensor],
        dtype: torch.dtype,
        x: torch.Tensor,
        rounding: Rounding,
        generator: torch.Generator | None,
        scale: float | torch.Tensor | None,
    ) -> torch.Tensor:
        """``work`` on the checked arguments; on a large tensor a piece at a time."""
        x = self._accepted(x)
        draws = self._draws(x, rounding, generator)
        checked = self._scale(scale, x)
        place = self._place(checked, x)
        one_scale = checked is None or checked.dim() == 0
        if x.numel() <= 2 * _PIECE or not one_scale or not x.is_contiguous() or x.device.type != "cpu":
            return work(x, rounding, draws, place)
        result = torch.empty_like(x, dtype=dtype)
        source, target = x.view(-1), result.view(-1)
        for start in range(0, x.numel(), _PIECE):
            piece = slice(start, start + _PIECE)
            target[piece] = work(source[piece], rounding, None if draws is None else draws.view(-1)[piece], place)
        return result

    def _accepted(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype not in (torch.float32, torch.float64):
            raise SpecificationError(f"{self}: {x.dtype} numbers are not accepted; use float32 or float64")
        x = x.detach()
        if x.numel() and bool(x.max().isnan()):
            raise NonFiniteError(f"{self}: NaN is not quantised; find the operation that produced it")
        return x

    def _draws(self, x: torch.Tensor, rounding: str, generator: torch.Generator | None) -> torch.Tensor | None:
        """One uniform float32 in [0, 1) for each element, or None for "nearest"."""
        if rounding not in self.roundings:
            raise SpecificationError(f"{self}: rounding={rounding!r}: choose {' or '.join(map(repr, self.roundings))}")
        if rounding == "nearest":
            return None
        if generator is None:
            raise SpecificationError(
                f"{self}: rounding={rounding!r} draws random numbers; pass generator=torch.Generator().manual_seed(...)"
            )
        return torch.rand(x.shape, generator=generator, device=generator.device, dtype=torch.float32).to(x.device)

    def _scale(self, scale: float | torch.Tensor | None, x: torch.Tensor) -> torch.Tensor | None:
        """The checked scale, float32 on the device of ``x``; a single one has no dimensions."""
        if scale is None:
            return None
        given = torch.as_tensor(scale, device=x.device).detach().to(torch.float32)
        if given.numel() == 1:
            given = given.reshape(())
        elif not _broadcasts(given.shape, x.shape):
            raise SpecificationError(
                f"{self}: a scale of shape {tuple(given.shape)} does not broadcast to {tuple(x.shape)}; "
                "use scale_of(x, dim=...)"
            )
        self._check_scale(given)
        return given

    def _check_scale(self, scale: torch.Tensor) -> None:
        low, high = (float(v) for v in torch.aminmax(scale))
        if not (low >= self.smallest_scale and high * self.largest < _LIMIT):
            worst = high if low >= self.smallest_scale else low
            raise SpecificationError(
                f"{self}: scale={worst:g}: must be at least {self.smallest_scale:g} (smallest_scale) and keep "
                f"{self.largest:g} * scale below 2^128"
            )

    def _peak(self, x: torch.Tensor, dim: Dims | None) -> torch.Tensor:
        """max|x|, one for each index of ``dim``."""
        kept = () if dim is None else (dim,) if isinstance(dim, int) else dim
        for d in kept:
            if not -x.dim() <= d < x.dim():
                raise SpecificationError(f"{self}.scale_of(dim={dim}): x has {x.dim()} dimensions")
        kept = tuple(d % x.dim() for d in kept)
        if x.numel() == 0:
            shape = [n if d in kept else 1 for d, n in enumerate(x.shape)]
            return torch.zeros(shape if kept else (), dtype=x.dtype, device=x.device)
        reduced = [d for d in range(x.dim()) if d not in kept]
        if not reduced:
            return x.abs()
        return x.abs().amax(dim=reduced, keepdim=bool(kept))


def power_of_two_above(x: torch.Tensor) -> torch.Tensor:
    """The smallest integers n with x <= 2^n (int32), of positive finite numbers; exact."""
    mantissa, exponent = torch.frexp(x)
    return exponent - (mantissa == 0.5).to(torch.int32)


def check_integer(owner: str, name: str, value: object, low: int, high: int) -> None:
    """Raise SpecificationError unless the field ``name`` is an integer from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SpecificationError(f"{owner}({name}={value!r}): must be an integer from {low} to {high}")


def check_choice(owner: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise SpecificationError unless the field ``name`` is one of ``choices``, of the same type."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise SpecificationError(f"{owner}({name}={value!r}): choose {' or '.join(map(repr, choices))}")


def _broadcasts(shape: torch.Size, target: torch.Size) -> bool:
    try:
        return bool(torch.broadcast_shapes(shape, target) == target)
    except RuntimeError:
        return False
