import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import slipstick as ss
from slipstick.errors import SpecificationError
from slipstick.train import atomic_files, checkpoint_files, stored_tensors
from slipstick.train.checkpoint_files import has_checkpoint, newest_index, remove_checkpoints, write_index
from slipstick.train.checkpoints import (
    Checkpoint,
    Position,
    checkpoint_hash,
    load_checkpoint,
    read_model_state,
    save_checkpoint,
)
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


def checkpoint(epoch: int = 1, accuracy: float | None = None) -> Checkpoint:
    totals = Totals(loss=0.1 + 0.2, correct=3, images=4, steps=1, seconds=1 / 3)
    position = Position(epoch, 2, 1.5, totals, Totals())
    return Checkpoint(position, 77, {"compute": None, "update": None}, accuracy, '{"steps": 1}\n')


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{index}.{name}": moment.clone() for name, moment in moments.items()}
    return tensors


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pairs(*numbers: int) -> list[str]:
    return [f"checkpoint-{n:05d}.{suffix}" for n in numbers for suffix in ("json", "safetensors")]


def several(folder: Path, count: int = 3) -> list[dict[str, torch.Tensor]]:
    """Checkpoints 1, 2, ... of a training; returns the state at each."""
    model, optimizer = network()
    states = []
    for epoch in range(1, count + 1):
        train_steps(model, optimizer)
        save_checkpoint(folder, checkpoint(epoch), model, optimizer)
        states.append(state(model, optimizer))
    return states


def damage(folder: Path, number: int, how: str) -> None:
    index, tensors = (folder / name for name in pairs(number))
    match how:
        case "tensors":
            tensors.write_bytes(tensors.read_bytes()[:-1] + b"?")
        case "shorter tensors":
            tensors.write_bytes(tensors.read_bytes()[:-1])
        case "missing tensors":
            tensors.unlink()
        case "swapped tensors":
            shutil.copy(folder / pairs(number - 1)[1], tensors)
        case "index":
            index.write_text("{}")
        case "empty index":
            index.write_text("")
        case "number in the index":
            index.write_text(index.read_text().replace('"metrics_bytes": 77', '"metrics_bytes": 78'))
        case "hash in the index":
            index.write_text(re.sub('"tensors_sha256": "..', '"tensors_sha256": "zz', index.read_text()))
        case "other type":
            index.write_text("[]")


DAMAGES = [
    "tensors", "shorter tensors", "missing tensors", "swapped tensors", "index", "empty index", "number in the index",
    "hash in the index", "other type",
]  # fmt: skip


def test_a_checkpoint_restores_model_optimiser_generator_and_position(tmp_path: Path) -> None:
    model, optimizer = network()
    train_steps(model, optimizer)
    save_checkpoint(tmp_path, checkpoint(), model, optimizer)
    drawn = torch.rand(3)
    other, other_optimizer = network()
    assert load_checkpoint(tmp_path, other, other_optimizer) == checkpoint()
    assert equal(state(model, optimizer), state(other, other_optimizer))
    assert torch.equal(torch.rand(3), drawn)
    assert newest_index(tmp_path)["learning_rates"] == [0.1]


def test_the_last_are_kept_and_the_best_and_nothing_is_pickled(tmp_path: Path) -> None:
    model, optimizer = network()
    accuracies = [0.1, 0.5, None, 0.5, 0.4, None, 0.7, 0.6, 0.3, 0.2]
    for epoch, accuracy in enumerate(accuracies, 1):
        save_checkpoint(tmp_path, checkpoint(epoch, accuracy), model, optimizer, keep=2)
        tested = [each for each in accuracies[:epoch] if each is not None]
        best = accuracies.index(max(tested)) + 1
        assert names(tmp_path) == sorted(pairs(*{best, epoch, max(1, epoch - 1)}))
    assert names(tmp_path) == pairs(7, 9, 10)
    for file in tmp_path.glob("*.json"):
        json.loads(file.read_text())
    for file in tmp_path.glob("*.safetensors"):
        load_file(file)


def test_a_run_that_is_never_tested_keeps_the_last(tmp_path: Path) -> None:
    several(tmp_path, 5)
    assert names(tmp_path) == pairs(3, 4, 5)


def test_numbers_count_on_beyond_their_digits(tmp_path: Path) -> None:
    several(tmp_path, 2)
    for name in pairs(2):
        (tmp_path / name).rename(tmp_path / name.replace("00002", "99999"))
    index = json.loads((tmp_path / "checkpoint-99999.json").read_text())
    write_index(tmp_path / "checkpoint-99999.json", {
        **{key: value for key, value in index.items() if key != "index_sha256"},
        "tensors": "checkpoint-99999.safetensors",
    })  # fmt: skip
    for _ in range(2):
        save_checkpoint(tmp_path, checkpoint(9), *network(), keep=2)
    assert names(tmp_path) == pairs(100000, 100001)
    assert newest_index(tmp_path)["tensors"] == "checkpoint-100001.safetensors"


@pytest.mark.parametrize("crash_at", ["write", "fsync", "replace", "index", "prune"])
def test_a_crash_leaves_the_checkpoints_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    before = several(tmp_path)[-1]
    model, optimizer = network()
    train_steps(model, optimizer)

    def crash(*_: object, **__: object) -> None:
        raise PowerCutError

    def write_half(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        raise PowerCutError

    unlink = Path.unlink

    def crash_between_two_files(path: Path, missing_ok: bool = False) -> None:
        if path.name == "checkpoint-00001.safetensors":
            raise PowerCutError
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        match crash_at:
            case "write":
                patch.setattr(stored_tensors, "save_file", write_half)
            case "fsync":
                patch.setattr(atomic_files.os, "fsync", crash)
            case "replace":
                patch.setattr(Path, "replace", crash)
            case "index":
                patch.setattr(checkpoint_files, "write_index", crash)
            case "prune":
                patch.setattr(Path, "unlink", crash_between_two_files)
        with pytest.raises(PowerCutError):
            save_checkpoint(tmp_path, checkpoint(4), model, optimizer)
    expected = state(model, optimizer) if crash_at == "prune" else before
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
    other, other_optimizer = network()
    assert load_checkpoint(tmp_path, other, other_optimizer).position.epoch == (4 if crash_at == "prune" else 3)
    assert equal(expected, state(other, other_optimizer))
    save_checkpoint(tmp_path, checkpoint(5), other, other_optimizer)
    assert len(list(tmp_path.glob("checkpoint-*.json"))) == len(list(tmp_path.glob("checkpoint-*.safetensors"))) == 3


@pytest.mark.parametrize("how", DAMAGES)
def test_the_one_before_a_damaged_checkpoint_is_used_and_the_damage_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    states = several(tmp_path)
    damage(tmp_path, 3, how)
    hashed = checkpoint_hash(tmp_path)
    assert capsys.readouterr().err == ""
    read_model_state(tmp_path)
    said = capsys.readouterr().err
    assert said.startswith(f"slipstick: {tmp_path / 'checkpoint-00003.json'}: damaged (")
    assert said.endswith("); going on from checkpoint-00002.json\n")
    assert said.count("\n") == 1
    assert ".damaged" not in "".join(names(tmp_path))
    model, optimizer = network()
    assert load_checkpoint(tmp_path, model, optimizer).position.epoch == 2
    assert capsys.readouterr().err == said
    assert equal(states[1], state(model, optimizer))
    assert newest_index(tmp_path)["tensors_sha256"] == hashed
    load_checkpoint(tmp_path, model, optimizer)
    assert capsys.readouterr().err == ""  # it was set aside
    assert "checkpoint-00003.json.damaged" in names(tmp_path)
    save_checkpoint(tmp_path, checkpoint(3), model, optimizer)
    assert set(pairs(1, 2, 4)) <= set(names(tmp_path))


def test_every_flipped_bit_of_an_index_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    several(tmp_path, 1)
    file = tmp_path / "checkpoint-00001.json"
    good, content = file.read_bytes(), newest_index(tmp_path)
    seen = 0
    for place in range(0, len(good), 7):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        try:
            assert newest_index(tmp_path) == content
        except SpecificationError:
            seen += 1
    assert seen > len(good) / 7 * 0.8  # the others hit the spaces between words


@pytest.mark.parametrize("how", DAMAGES)
def test_where_none_is_whole_it_is_one_line(tmp_path: Path, how: str) -> None:
    several(tmp_path)
    for number in (3, 2, 1):
        if number > 1 or how != "swapped tensors":
            damage(tmp_path, number, how)
    if how == "swapped tensors":
        damage(tmp_path, 1, "tensors")
    assert has_checkpoint(tmp_path)
    assert checkpoint_hash(tmp_path) is None
    with pytest.raises(SpecificationError) as error:
        load_checkpoint(tmp_path, *network())
    assert re.fullmatch(
        f"{tmp_path}/checkpoint-00003.json: damaged \\(.*\\), and no other is whole; "
        "bring the files back, or begin with --overwrite",
        str(error.value),
    )
    assert ".damaged" not in "".join(names(tmp_path))


def test_several_damaged_ones_are_each_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = several(tmp_path)
    damage(tmp_path, 3, "tensors")
    damage(tmp_path, 2, "index")
    model, optimizer = network()
    load_checkpoint(tmp_path, model, optimizer)
    assert equal(states[0], state(model, optimizer))
    lines = capsys.readouterr().err.splitlines()
    assert [re.search(r"checkpoint-(\d+)", line)[1] for line in lines] == ["00003", "00002"]
    assert all(line.endswith("going on from checkpoint-00001.json") for line in lines)


def test_a_checkpoint_of_an_earlier_version_says_so(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text('{"version": 1}')
    assert has_checkpoint(tmp_path)
    with pytest.raises(SpecificationError, match=r"checkpoint\.json: cannot be read: it is of an earlier version"):
        load_checkpoint(tmp_path, *network())
    remove_checkpoints(tmp_path)
    assert not names(tmp_path)


def test_a_checkpoint_of_a_later_version_is_not_taken_for_damaged(tmp_path: Path) -> None:
    several(tmp_path, 2)
    write_index(tmp_path / "checkpoint-00002.json", {"version": 9})
    with pytest.raises(SpecificationError, match="checkpoint version 9, this build reads 2"):
        load_checkpoint(tmp_path, *network())


def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several(tmp_path, 2)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SpecificationError, match=r"checkpoint-00002\.json: cannot be read: Permission denied"):
        load_checkpoint(tmp_path, *network())


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    several(tmp_path)
    other = nn.Sequential(nn.Linear(3, 5))
    with pytest.raises(SpecificationError, match="cannot be read"):
        load_checkpoint(tmp_path, other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert names(tmp_path) == pairs(1, 2, 3)


def test_a_refusing_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = several(tmp_path)[-1]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    model, optimizer = network()
    sync, calls = atomic_files._sync_directory, iter(range(2))

    def full_after_both_files(folder: Path) -> None:
        full() if next(calls) else sync(folder)

    for module, name, refuse in (
        (atomic_files.os, "fsync", full),
        (Path, "replace", full),
        (checkpoint_files, "write_json", full),
        (atomic_files, "_sync_directory", full_after_both_files),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            with pytest.raises(OSError, match=r"disk is full|No space"):
                save_checkpoint(tmp_path, checkpoint(4), model, optimizer)
        assert newest_index(tmp_path)["position"]["epoch"] == 3
        assert [name for name in names(tmp_path) if name.endswith(".json")] == pairs(1, 2, 3)[::2]
    load_checkpoint(tmp_path, model, optimizer)
    assert equal(before, state(model, optimizer))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_and_moments_in_an_arithmetic_are_kept_as_codes(tmp_path: Path, dtype: torch.dtype) -> None:
    arithmetic = ss.LogArithmetic(ss.LNS(5, 5), "exact")
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).to(dtype)
    ss.snap_(model, arithmetic)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        with ss.use(arithmetic):
            optimizer.zero_grad()
            model(torch.rand(5, 3, dtype=dtype)).square().sum().backward()
            optimizer.step()
    save_checkpoint(tmp_path, checkpoint(), model, optimizer, formats=[arithmetic.format])
    stored = load_file(tmp_path / newest_index(tmp_path)["tensors"])
    kinds = {name: tensor.dtype for name, tensor in stored.items()}
    assert kinds.pop("model.1.num_batches_tracked") == torch.int64
    assert set(kinds.values()) == {torch.uint16}
    assert len([name for name in kinds if name.endswith("momentum_buffer")]) == 6
    weight = model[0].weight.detach()
    assert torch.equal(stored["model.0.weight"].to(torch.int32), ss.codes(weight, arithmetic.format))
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).to(dtype)
    other_optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    load_checkpoint(tmp_path, other, other_optimizer)
    assert equal(state(model, optimizer), state(other, other_optimizer))


def test_the_best_is_found_again_after_going_back(tmp_path: Path) -> None:
    """A better one that turned out to be damaged is not the best."""
    model, optimizer = network()
    for epoch, accuracy in enumerate([0.5, 0.4, 0.9], 1):
        save_checkpoint(tmp_path, checkpoint(epoch, accuracy), model, optimizer, keep=1)
        if epoch == 2:
            assert names(tmp_path) == pairs(1, 2)
    assert names(tmp_path) == pairs(3)
    save_checkpoint(tmp_path, replace(checkpoint(4), test_accuracy=0.6), model, optimizer, keep=1)
    damage(tmp_path, 4, "index")
    load_checkpoint(tmp_path, model, optimizer)
    save_checkpoint(tmp_path, replace(checkpoint(5), test_accuracy=0.1), model, optimizer, keep=1)
    assert [name for name in names(tmp_path) if not name.endswith(".damaged")] == pairs(3, 5)


def test_a_checkpoint_that_its_own_run_removes_meanwhile_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = several(tmp_path, 2)
    listed = checkpoint_files._index_files(tmp_path)
    for name in pairs(2):
        (tmp_path / name).unlink()
    monkeypatch.setattr(checkpoint_files, "_index_files", lambda _: listed)
    weights, _ = read_model_state(tmp_path)
    assert torch.equal(weights["0.weight"], states[0]["0.weight"])
    assert capsys.readouterr().err == ""
