"""Tensors of a run in one safetensors file: as the integer codes of their format where they lie on its grid.

A code is the W-bit pattern of ``slipstick.formats.LNS``, in the narrowest of uint8, uint16 and int32 that holds it.
What is no number of the grid, bit for bit, stays as it is: integers, ranges of quantisers, -0.0, and whole tensors with
one number off the grid. The metadata of the file say under the one key "slipstick", in JSON, which tensors are codes of
which format and which dtype they had. One key, since safetensors writes several in any order, and the file of a state
is to be the same file each time.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from slipstick.formats import LNS

Tensors = dict[str, torch.Tensor]

_KEY = "slipstick"
_CARRIERS = {"float32": torch.float32, "float64": torch.float64}
_SAME_SIZE = {torch.float32: torch.int32, torch.float64: torch.int64}


def save_tensors(tensors: Tensors, file: Path, formats: Sequence[LNS] = ()) -> None:
    """Write ``tensors``; each in codes of the first of ``formats`` on whose grid it lies, if there is one.

    The same tensors always make the same bytes. Raises OSError where the file cannot be written.
    """
    stored: Tensors = {}
    encodings: dict[str, dict[str, Any]] = {}
    memory = set()
    for name, tensor in sorted(tensors.items()):
        format, kept = _encode(tensor.detach(), formats)
        where = kept.untyped_storage().data_ptr()
        stored[name] = kept.clone() if where in memory else kept  # safetensors refuses tied weights
        memory.add(where)
        if format is not None:
            encodings[name] = {"format": format.to_dict(), "dtype": str(tensor.dtype).removeprefix("torch.")}
    try:
        save_file(stored, file, {_KEY: json.dumps(encodings, sort_keys=True)})
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from None


def load_tensors(file: Path) -> Tensors:
    """What ``save_tensors`` was given, bit for bit."""
    with safe_open(file, framework="pt") as opened:
        encodings = json.loads((opened.metadata() or {}).get(_KEY, "{}"))
        return {name: _decode(opened.get_tensor(name), encodings.get(name)) for name in opened.keys()}  # noqa: SIM118


def code_dtype(format: LNS) -> torch.dtype:
    """The narrowest dtype that holds every code of ``format``."""
    return torch.uint8 if format.width <= 8 else torch.uint16 if format.width <= 16 else torch.int32


def _encode(tensor: torch.Tensor, formats: Sequence[LNS]) -> tuple[LNS | None, torch.Tensor]:
    """A format and codes, or None and the tensor itself."""
    tensor = tensor.contiguous()
    if tensor.dtype in _SAME_SIZE and not bool(tensor.isnan().any()):
        for format in formats:
            codes = format.encode(tensor)
            if _same_bits(format.decode(codes).to(tensor.dtype), tensor):
                return format, codes.to(code_dtype(format))
    return None, tensor


def _decode(stored: torch.Tensor, encoding: dict[str, Any] | None) -> torch.Tensor:
    if encoding is None:
        return stored
    return LNS(**encoding["format"]).decode(stored.to(torch.int32)).to(_CARRIERS[encoding["dtype"]])


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    integer = _SAME_SIZE[a.dtype]
    return torch.equal(a.view(integer), b.view(integer))
