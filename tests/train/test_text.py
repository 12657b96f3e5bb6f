"""Text as data: characters, windows, and runs of a transformer from its seed to the same bits."""

import hashlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_loop import StopAfter, final_bits

from slipstick.errors import SpecificationError
from slipstick.report import read_run
from slipstick.report.html import render_report
from slipstick.train import Data, Interrupted, load_data, load_experiment, run_folder, train
from slipstick.train.config import Experiment
from slipstick.train.loop import Run
from slipstick.train.text import read_text
from slipstick.train.text_data import TextData, Vocabulary

TINY = {"name": "transformer", "width": 8, "layers": 1, "heads": 2, "context": 8}
ADAM = {"name": "adamw", "lr": 0.01}
MADAM = {"name": "madam", "lr": 2**-5, "additive": {"lr": 0.01}}
SIGNED = {"recipe": "miyashita2016", "activation": {"format": {"signed": True}}}


def experiment(out: Path = Path(), **fields: object) -> Experiment:
    small = {
        "data": "python-docs",
        "subset": {"train": 40, "test": 20},
        "model": TINY,
        "optimizer": ADAM,
        "batch": 10,
        "epochs": 2,
        "log_every": 3,
        "seed": 7,
        "threads": 1,
    }
    return Experiment(name="trial", out=str(out), **{**small, **fields})


def text_file(folder: Path, text: str, name: str = "poem.txt") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def batches(data: Data, seed: int = 3, epoch: int = 0, start: int = 0) -> torch.Tensor:
    return torch.stack([torch.stack(batch) for batch in data.training_batches(seed, epoch, start)])


@pytest.fixture(scope="module")
def data() -> TextData:
    return load_data(experiment())


def test_characters_are_coded_in_their_order_and_rare_ones_alike() -> None:
    vocabulary = Vocabulary.of("b" * 10 + "a" * 11 + "é" * 10 + "z" * 9 + "\U0001f600")
    assert (vocabulary.characters, len(vocabulary)) == ("abé", 4)
    assert vocabulary.encode("aébz\U0001f600\0b").tolist() == [0, 2, 1, 3, 3, 3, 1]
    assert Vocabulary.of("").encode("ab").tolist() == [0, 0]


def test_pythons_own_text_is_split_at_nine_tenths(data: TextData) -> None:
    text = read_text("python-docs")
    assert "while" in text
    assert len(data.test) == len(text) // 10
    assert len(data.train) + len(data.test) == len(text)
    vocabulary = Vocabulary.of(text[: len(data.train)])
    assert torch.equal(torch.cat([data.train, data.test]), vocabulary.encode(text))
    assert data.classes == len(vocabulary) == int(data.train.max()) + 1
    assert data.facts["text_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_text_file_is_read_whatever_its_line_ends_and_mark(tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_bytes(b"\xef\xbb\xbf" + "aé\r\nb\n".encode())
    assert read_text(str(tmp_path / "a.TXT")) == "aé\nb\n"


def test_targets_are_the_characters_that_come_next(data: TextData) -> None:
    inputs, targets = next(data.training_batches(1, 0))
    assert inputs.shape == targets.shape == (10, *data.shape)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_batches_depend_on_seed_and_epoch_only(data: TextData) -> None:
    first = batches(data)
    assert len(first) == data.steps_per_epoch == 4
    torch.manual_seed(99)
    assert torch.equal(first, batches(data))
    assert torch.equal(first[3:], batches(data, start=3))
    assert not torch.equal(first, batches(data, seed=4))
    assert not torch.equal(first, batches(data, epoch=1))


def test_every_window_of_the_training_part_can_be_drawn(data: TextData) -> None:
    numbered = replace(data, train=torch.arange(20), training_samples=500)
    inputs, targets = batches(numbered).unbind(1)
    assert inputs[..., 0].unique().tolist() == list(range(12))
    assert int(targets.max()) == 19


def test_an_epoch_is_by_default_as_long_as_the_training_part() -> None:
    data = load_data(experiment(subset={}))
    assert data.training_samples == (len(data.train) - 1) // 8
    assert data.test_samples == (len(data.test) - 1) // 8


def test_test_windows_lie_side_by_side() -> None:
    data = load_data(experiment(subset={}))
    inputs, targets = (torch.cat(parts) for parts in zip(*data.test_batches(250), strict=True))
    covered = inputs.numel()
    assert torch.equal(inputs.flatten(), data.test[:covered])
    assert torch.equal(targets.flatten(), data.test[1 : covered + 1])


def test_a_subset_of_test_windows_is_the_same_for_every_seed_and_part_of_a_larger_one() -> None:
    small = load_data(experiment(seed=1, subset={"test": 10}))
    large = load_data(experiment(seed=2, subset={"test": 30}))
    assert torch.equal(small.starts, large.starts[:10])
    assert len(large.starts.unique()) == 30


def test_text_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    many = "".join(chr(0x4E00 + i) for i in range(1100))
    cases = {
        str(tmp_path / "none.txt"): "no such file",
        str(tmp_path / "latin.txt"): "not UTF-8 (byte 3)",
        text_file(tmp_path, "a" * 89, "short.txt"): "89 characters, of which the last tenth is for testing; "
        "model.context = 8 needs 90 of them",
        text_file(tmp_path, many * 12, "many.txt"): "1101 different characters; at most 1024 are possible",
    }
    (tmp_path / "folder.txt").mkdir()
    cases[str(tmp_path / "folder.txt")] = "cannot be read: Is a directory"
    for name, message in cases.items():
        with pytest.raises(SpecificationError) as error:
            load_data(experiment(data=name))
        assert f"data {name!r}: " in str(error.value)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_a_python_without_the_text_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(SpecificationError, match=r"this Python comes without pydoc_data\.topics; give the path of"):
        load_data(experiment())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"subset": {"test": 100_000}}, "subset.test = 100000: the data has 5"),
        ({"batch": 50}, "batch = 50: larger than the 40 training windows"),
    ],
)
def test_what_does_not_fit_the_text_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError) as error:
        load_data(experiment(**fields))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = 'python-docs'", "trial.toml: data = 'python-docs' is text, model 'cnn' reads images; use transformer"),
        ("[model]\nname = 'transformer'", "model 'transformer' reads text, not data = 'digits'; use 'python-docs' or"),
        ("[model]\nname = 'transformer'\nheads = 3", "trial.toml: model: width = 64 is not divisible by heads = 3"),
        ("[model]\nname = 'transformer'\nhidden = 3", "trial.toml: model.hidden: unknown key; known are name, width"),
        ("data = 'a.txt'\nimage_size = 8\nmodel = {name = 'transformer'}", "image_size and augment change images"),
        ("data = 'a.txt'\naugment = {pad = 1}\nmodel = {name = 'transformer'}", "data = 'a.txt' is text; drop them"),
    ],
)
def test_a_network_and_data_that_do_not_go_together_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "trial.toml").write_text(text)
    with pytest.raises(SpecificationError) as error:
        load_experiment(tmp_path / "trial.toml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"arithmetic": "LNS(5,5) designed", "update": "LNS(5,10) exact"},
        {"quantize": "lns-madam2021", "optimizer": MADAM},
        {"quantize": "fp8"},
        {"quantize": "luq2021"},
        {"quantize": SIGNED},
        {"model": {**TINY, "dropout": 0.5}},
    ],
    ids=["fp32", "LNS", "lns-madam2021", "fp8", "luq2021", "miyashita2016 signed", "dropout"],
)
@pytest.mark.parametrize("stop_after", [2, 5])
def test_an_interrupted_and_resumed_run_ends_in_the_same_bits(
    tmp_path: Path, data: TextData, fields: dict[str, object], stop_after: int
) -> None:
    whole, broken = (experiment(tmp_path / name, **fields) for name in ("whole", "broken"))
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(stop_after))
    torch.manual_seed(0)
    result = train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))
    assert (result.status, result.steps, result.training_images, result.test_images) == ("finished", 8, 40, 20)


def test_loss_and_accuracy_are_means_over_all_positions(tmp_path: Path, data: TextData) -> None:
    run = Run(experiment(tmp_path), data)
    loss, accuracy = run.evaluate()
    inputs, targets = next(data.test_batches(20))
    with torch.no_grad():
        shares = run.model(inputs).double().softmax(dim=-1)
    by_hand = [-math.log(shares[n, t, targets[n, t]]) for n in range(20) for t in range(8)]
    assert loss == pytest.approx(sum(by_hand) / 160, rel=1e-6)
    assert accuracy == pytest.approx((shares.argmax(dim=-1) == targets).double().mean().item())
    assert loss == pytest.approx(math.log(data.classes), abs=0.3)


def test_the_step_counts_every_position(tmp_path: Path, data: TextData) -> None:
    chosen = experiment(tmp_path, epochs=1)
    fresh = Run(chosen, data)
    inputs, targets = next(data.training_batches(chosen.seed, 0))
    expected = F.cross_entropy(fresh.model(inputs).transpose(1, 2), targets).item()
    train(experiment(tmp_path, epochs=1, log_every=1), data, quiet=True)
    first = read_run(run_folder(chosen)).steps[0]
    assert first.train_loss == pytest.approx(expected, rel=1e-6)
    assert first.train_accuracy * 80 == pytest.approx(round(first.train_accuracy * 80))


def test_a_periodic_text_is_learnt(tmp_path: Path) -> None:
    chosen = experiment(tmp_path, data=text_file(tmp_path, "abcd" * 100), subset={"train": 400, "test": 4}, epochs=1)
    result = train(chosen, quiet=True)
    assert result.accuracy == 1.0
    assert result.test_loss < 0.3


def test_the_hash_of_the_text_is_recorded_and_another_text_refused(tmp_path: Path) -> None:
    chosen = experiment(tmp_path, data=text_file(tmp_path, "abcd" * 100), subset={"test": 4})
    with pytest.raises(Interrupted):
        train(chosen, quiet=True, stop=StopAfter(1))
    (start,) = json.loads((run_folder(chosen) / "environment.json").read_text())
    assert start["text_sha256"] == hashlib.sha256(b"abcd" * 100).hexdigest()
    text_file(tmp_path, "abdc" * 100)
    with pytest.raises(SpecificationError, match="the data has changed since it was started") as error:
        train(chosen, quiet=True, resume=True)
    assert "\n" not in str(error.value)
    text_file(tmp_path, "abcd" * 100)
    assert train(chosen, quiet=True, resume=True).status == "finished"


def test_signed_inputs_are_refused_where_a_recipe_has_unsigned_activations(tmp_path: Path, data: TextData) -> None:
    with pytest.raises(SpecificationError, match=r"query: has negative numbers, .*; give it a signed format"):
        train(experiment(tmp_path, quantize="miyashita2016"), data, quiet=True)


def test_embeddings_are_quantised_layers(data: TextData) -> None:
    quantization = Run(experiment(quantize="fp8"), data).quantization
    assert [name for name, _ in quantization.layers()] == [
        "embedding",
        "position",
        *(f"blocks.0.attention.{name}" for name in ("query", "key", "value", "projection")),
        "blocks.0.expand",
        "blocks.0.contract",
        "head",
    ]


def test_the_report_has_bits_per_character(tmp_path: Path, data: TextData) -> None:
    chosen = experiment(tmp_path, epochs=1)
    result = train(chosen, data, quiet=True)
    page = render_report([read_run(run_folder(chosen))])
    assert f"{result.test_loss:.3f} ({result.test_loss / math.log(2):.3f} bpc)" in page
    assert "windows of 8 characters" in page
    assert "standard error" not in page
