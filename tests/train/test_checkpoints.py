import json
from pathlib import Path

import pytest
import torch
from torch import nn

from slipstick.errors import SpecificationError
from slipstick.train import atomic_files, checkpoints
from slipstick.train.checkpoints import Checkpoint, Position, load_checkpoint, save_checkpoint
from slipstick.train.metrics import Totals


class PowerCutError(Exception):
    pass


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def train_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(5, 3)).square().sum().backward()
        optimizer.step()


def checkpoint(epoch: int = 1) -> Checkpoint:
    totals = Totals(loss=0.1 + 0.2, correct=3, images=4, steps=1, seconds=1 / 3)
    return Checkpoint(Position(epoch, 2, 1.5, totals, Totals()), 77, {"compute": None, "update": None})


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{index}.{name}": moment.clone() for name, moment in moments.items()}
    return tensors


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def test_a_checkpoint_restores_model_optimiser_generator_and_position(tmp_path: Path) -> None:
    model, optimizer = network()
    train_steps(model, optimizer)
    save_checkpoint(tmp_path, checkpoint(), model, optimizer)
    drawn = torch.rand(3)
    other, other_optimizer = network()
    assert load_checkpoint(tmp_path, other, other_optimizer) == checkpoint()
    assert equal(state(model, optimizer), state(other, other_optimizer))
    assert torch.equal(torch.rand(3), drawn)


def test_only_the_last_checkpoint_is_kept_and_nothing_is_pickled(tmp_path: Path) -> None:
    model, optimizer = network()
    for epoch in (1, 2):
        save_checkpoint(tmp_path, checkpoint(epoch), model, optimizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-0002-000002.safetensors",
        "checkpoint.json",
    ]
    json.loads((tmp_path / "checkpoint.json").read_text())


@pytest.mark.parametrize("crash_at", ["write", "fsync", "replace", "index"])
def test_a_crash_leaves_the_checkpoint_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    model, optimizer = network()
    train_steps(model, optimizer)
    save_checkpoint(tmp_path, checkpoint(1), model, optimizer)
    before = state(model, optimizer)
    train_steps(model, optimizer)

    def crash(*_: object, **__: object) -> None:
        raise PowerCutError

    def write_half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise PowerCutError

    with monkeypatch.context() as patch:
        match crash_at:
            case "write":
                patch.setattr(checkpoints, "save_file", write_half)
            case "fsync":
                patch.setattr(atomic_files.os, "fsync", crash)
            case "replace":
                patch.setattr(Path, "replace", crash)
            case "index":
                patch.setattr(checkpoints, "write_json", crash)
        with pytest.raises(PowerCutError):
            save_checkpoint(tmp_path, checkpoint(2), model, optimizer)

    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]
    other, other_optimizer = network()
    assert load_checkpoint(tmp_path, other, other_optimizer).position.epoch == 1
    assert equal(before, state(other, other_optimizer))


@pytest.mark.parametrize("damage", ["tensors", "missing tensors", "index", "version"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, damage: str) -> None:
    model, optimizer = network()
    save_checkpoint(tmp_path, checkpoint(), model, optimizer)
    (tensors,) = tmp_path.glob("*.safetensors")
    index = tmp_path / "checkpoint.json"
    match damage:
        case "tensors":
            tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
        case "missing tensors":
            tensors.unlink()
        case "index":
            index.write_text("{}")
        case "version":
            index.write_text(index.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(SpecificationError) as error:
        load_checkpoint(tmp_path, model, optimizer)
    assert "\n" not in str(error.value)
    assert "checkpoint" in str(error.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(), *network())
    other = nn.Sequential(nn.Linear(3, 5))
    with pytest.raises(SpecificationError, match="cannot be read"):
        load_checkpoint(tmp_path, other, torch.optim.SGD(other.parameters(), lr=0.1))
