"""What flows through a unit: dot products one after another, a product in every cycle.

Of a training step each role has its own operands, and every product of tensors as many cycles as its share of the
role's products, so that a mean over cycles is a mean over the step. Numbers are real here; a unit gets its codes of
them from ``codes``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slipstick.errors import SpecificationError
from slipstick.hardware.candidates import Candidate, Codes, Reals
from slipstick.hardware.streams import Stream
from slipstick.hardware.workload import Role


@dataclass(frozen=True, eq=False)
class Piece:
    """Cycles whose operands come from the same two tensors. a, b: float32 [cycles]; clear: 1 where a dot product
    begins. a_peak, b_peak: the largest magnitudes of the tensors."""

    a: Reals
    b: Reals
    clear: Codes
    a_peak: float
    b_peak: float


Operands = tuple[Piece, ...]

_LONGEST = 256


def of_role(streams: Sequence[Stream], role: Role, cycles: int, seed: int = 0) -> Operands:
    """About ``cycles`` cycles of a role. Each product of tensors has at least one.

    Raises SpecificationError if no stream has the role.
    """
    found = [stream for stream in streams if stream.role == role]
    if not found:
        raise SpecificationError(f"operands: nothing recorded of role {role!r}")
    every = sum(stream.products for stream in found)
    generator = np.random.default_rng(seed)
    shares = (max(1, round(cycles * stream.products / every)) for stream in found)
    return tuple(_piece(stream, share, generator) for stream, share in zip(found, shares, strict=True))


def normal(cycles: int, length: int, seed: int = 0) -> Operands:
    """Independent normal numbers, standard deviation 1 and 4 of them the peak, in dot products of ``length``."""
    generator = np.random.default_rng(seed)
    a, b = (generator.standard_normal(cycles).astype(np.float32) for _ in range(2))
    peak = 4.0
    return (Piece(np.clip(a, -peak, peak), np.clip(b, -peak, peak), _begins(cycles, length), peak, peak),)


def codes(operands: Operands, candidate: Candidate) -> dict[str, Codes]:
    """The ports a, b and clear of the candidate's clocked unit, a row for each cycle."""
    return {
        "a": np.concatenate([candidate.encode(piece.a, piece.a_peak) for piece in operands]),
        "b": np.concatenate([candidate.encode(piece.b, piece.b_peak) for piece in operands]),
        "clear": np.concatenate([piece.clear for piece in operands]),
    }


def _piece(stream: Stream, cycles: int, generator: np.random.Generator) -> Piece:
    """Parts of the sampled dot products from random places, at most _LONGEST terms each, as if they were all of one."""
    dots, terms = stream.a.shape
    length = min(terms, _LONGEST)
    parts = -(-cycles // length)
    dot, start = generator.integers(dots, size=parts), generator.integers(terms - length + 1, size=parts)
    at = ((dot * terms + start)[:, None] + np.arange(length)).reshape(-1)[:cycles]
    a, b = stream.a.reshape(-1)[at], stream.b.reshape(-1)[at]
    return Piece(a, b, _begins(cycles, length), stream.a_maximum, stream.b_maximum)


def _begins(cycles: int, length: int) -> Codes:
    begins: Codes = (np.arange(cycles) % length == 0).astype(np.int64)
    return begins


def merged(parts: Sequence[Operands]) -> Operands:
    """One after another."""
    return tuple(piece for part in parts for piece in part)
