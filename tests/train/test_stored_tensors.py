"""Checkpoints keep integer codes, and nothing of a tensor is lost by that."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

import slipstick as ss
from slipstick.train.stored_tensors import code_dtype, load_tensors, save_tensors

FORMATS = [ss.LNS(3, 2), ss.LNS(5, 1), ss.LNS(5, 5), ss.LNS(5, 9), ss.LNS(5, 10), ss.LNS(6, 16), ss.LNS(5, 5, "flush")]
CARRIERS = [torch.float32, torch.float64]


def every_code(format: ss.LNS) -> torch.Tensor:
    """All numbers of a format; of a wide one both extremes of either sign, zero, and some between."""
    zero = 1 << (format.width - 2)  # the pattern of L = -(MAX + 1) with s = 0
    sign = 1 << (format.width - 1)
    codes = torch.arange(1 << format.width) if format.width <= 16 else torch.cat([
        *(torch.tensor([s, s + 1, s + zero - 1, s + zero + 1, s + sign - 1]) for s in (0, sign)),
        torch.tensor([zero]), torch.randint(zero, (1000,), generator=torch.Generator().manual_seed(0)),
    ])  # fmt: skip
    return codes[codes != sign + zero].to(torch.int32)


def bits(tensor: torch.Tensor) -> list[int]:
    integer = {4: torch.int32, 8: torch.int64, 2: torch.int16, 1: torch.int8}[tensor.element_size()]
    return tensor.contiguous().view(integer).tolist()


@pytest.mark.parametrize("dtype", CARRIERS, ids=str)
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_every_number_of_a_format_comes_back_and_lies_there_as_its_code(
    tmp_path: Path, format: ss.LNS, dtype: torch.dtype
) -> None:
    codes = every_code(format)
    numbers = format.decode(codes).to(dtype)
    extremes = torch.tensor([format.largest, format.smallest, 0.0, -format.smallest, -format.largest])
    assert set(extremes.tolist()) <= set(numbers.float().tolist())
    save_tensors({"w": numbers}, tmp_path / "f", [format])
    stored = load_file(tmp_path / "f")["w"]
    assert stored.dtype == code_dtype(format)
    assert stored.element_size() * 8 >= format.width
    assert torch.equal(stored.to(torch.int32), codes)
    loaded = load_tensors(tmp_path / "f")["w"]
    assert loaded.dtype == dtype
    assert bits(loaded) == bits(numbers)


def test_codes_are_as_narrow_as_they_can_be() -> None:
    widths = {8: torch.uint8, 9: torch.uint16, 16: torch.uint16, 17: torch.int32, 24: torch.int32}
    assert {w: code_dtype(ss.LNS(min(6, w - 2), w - 2 - min(6, w - 2))) for w in widths} == widths


OFF_THE_GRID = {
    "one of many": torch.tensor([1.0, 2.0, 1.01]),
    "negative zero": torch.tensor([1.0, -0.0]),
    "infinity": torch.tensor([1.0, float("inf")]),
    "nan": torch.tensor([1.0, float("nan")]),
    "too large": torch.tensor([2.0**40]),
    "nearly, in double": torch.tensor([1.0 + 2**-50], dtype=torch.float64),
    "count": torch.tensor(3),
    "half": torch.tensor([1.0], dtype=torch.float16),
    "bool": torch.tensor([True, False]),
}


@pytest.mark.parametrize("name", OFF_THE_GRID)
def test_what_is_off_the_grid_stays_as_it_is(tmp_path: Path, name: str) -> None:
    tensor = OFF_THE_GRID[name]
    save_tensors({name: tensor}, tmp_path / "f", [ss.LNS(5, 5)])
    assert load_file(tmp_path / "f")[name].dtype == tensor.dtype
    loaded = load_tensors(tmp_path / "f")[name]
    assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
    assert bits(loaded) == bits(tensor)


@given(st.lists(st.floats(width=32), max_size=5), st.sampled_from(CARRIERS), st.booleans())
def test_any_floats_come_back(tmp_path_factory: pytest.TempPathFactory, values: list[float], dtype, snapped) -> None:
    tensor = torch.tensor(values, dtype=dtype)
    if snapped:
        tensor = ss.snap_(tensor.nan_to_num(), ss.LNS(5, 5))
    file = tmp_path_factory.getbasetemp() / "floats"
    save_tensors({"x": tensor}, file, [ss.LNS(5, 3), ss.LNS(5, 5)])
    loaded = load_tensors(file)["x"]
    assert (loaded.dtype, bits(loaded)) == (dtype, bits(tensor))


def test_the_first_format_that_fits_is_taken(tmp_path: Path) -> None:
    coarse, fine = ss.LNS(5, 2), ss.LNS(5, 6)
    tensors = {"coarse": coarse.decode(torch.tensor([5, 7])), "fine": fine.decode(torch.tensor([5, 7]))}
    tensors["empty"] = torch.empty(0, 3)
    tensors["transposed"] = fine.decode(torch.arange(6).reshape(2, 3)).T
    save_tensors(tensors, tmp_path / "f", [coarse, fine])
    with safe_open(tmp_path / "f", framework="pt") as opened:
        said = json.loads(opened.metadata()["slipstick"])
    assert {name: each["format"]["frac_bits"] for name, each in said.items()} == {
        "coarse": 2, "empty": 2, "fine": 6, "transposed": 6,
    }  # fmt: skip
    loaded = load_tensors(tmp_path / "f")
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_the_same_tensors_make_the_same_file(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.full((3,), float(2**i)) for i in range(20)}
    hashes = set()
    for name, order in (("a", list(tensors)), ("b", list(reversed(tensors)))):
        save_tensors({key: tensors[key].clone() for key in order}, tmp_path / name, [ss.LNS(5, 5)])
        hashes.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_a_file_without_codes_is_read_too(tmp_path: Path) -> None:
    save_tensors({"x": torch.tensor([1.5])}, tmp_path / "f")
    assert torch.equal(load_tensors(tmp_path / "f")["x"], torch.tensor([1.5]))


@pytest.mark.parametrize("formats", [[], [ss.LNS(5, 5)]], ids=str)
def test_tied_weights_are_kept_once_for_each_name(tmp_path: Path, formats: list[ss.LNS]) -> None:
    weight = torch.tensor([1.0, 2.0])
    save_tensors({"a": weight, "b": weight, "c": weight[:1]}, tmp_path / "f", formats)
    loaded = load_tensors(tmp_path / "f")
    assert [tensor.tolist() for tensor in loaded.values()] == [[1.0, 2.0], [1.0, 2.0], [1.0]]
