from pathlib import Path

import pytest

from interruptions import StopAfter
from slipstick.train import Data, Interrupted, load_data, run_folder, train
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.config import Experiment
from slipstick.train.watch_log import FILE_NAME, read_watch

LINE = {"step", "epoch", "lr", "tensors", "updates", "gradients", "warnings"}
TENSOR = {"layer", "role", "count", "zero", "saturated", "underflow", "octaves"}


def experiment(out: Path, **fields: object) -> Experiment:
    small = {
        "arithmetic": "LNS(5,5) designed",
        "subset": {"train": 40, "test": 20},
        "model": {"name": "cnn", "width": 0.25},
        "batch": 10,
        "epochs": 2,
        "threads": 1,
        "watch_every": 3,
    }
    return Experiment(name="trial", out=str(out), **{**small, **fields})


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


def end(chosen: Experiment) -> tuple[str, list[str]]:
    """The hash of every tensor at the end, and the metrics without their two columns of times."""
    folder = run_folder(chosen)
    rows = [line.rsplit(",", 2)[0] for line in (folder / "metrics.csv").read_text().splitlines()]
    return newest_index(folder)["tensors_sha256"], rows


@pytest.mark.parametrize("how", [{}, {"arithmetic": "fp32", "quantize": "luq2021"}], ids=str)
def test_a_watched_run_ends_in_the_same_bits_also_after_resuming(
    tmp_path: Path, data: Data, how: dict[str, object]
) -> None:
    alone, watched, broken = (
        experiment(tmp_path / name, watch_every=every, **how) for name, every in (("a", 0), ("b", 3), ("c", 3))
    )
    train(alone, data, quiet=True)
    train(watched, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(3))
    train(broken, data, resume=True, quiet=True)
    assert end(alone) == end(watched) == end(broken)
    assert not (run_folder(alone) / FILE_NAME).exists()
    assert read_watch(run_folder(watched)) == read_watch(run_folder(broken))
    assert (run_folder(alone) / "audit.json").exists() == ("quantize" not in how)
    if "quantize" not in how:
        assert (run_folder(alone) / "audit.json").read_text() == (run_folder(watched) / "audit.json").read_text()


def test_lines_have_the_fields_that_reports_read(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path)
    train(chosen, data, quiet=True)
    lines = read_watch(run_folder(chosen))
    assert [(line["step"], line["epoch"]) for line in lines] == [(1, 1), (3, 1), (6, 2)]
    for line in lines:
        assert set(line) == LINE
        assert all(set(tensor) == TENSOR for tensor in line["tensors"])
        assert all(t["zero"] + sum(t["octaves"].values()) == t["count"] for t in line["tensors"])
        assert {update["layer"] for update in line["updates"]} == {g["layer"] for g in line["gradients"]}
    assert {t["role"] for t in lines[0]["tensors"]} == {
        "weight",
        "activation",
        "activation_gradient",
        "weight_gradient",
    }


def test_lines_after_the_checkpoint_are_dropped_on_resume(tmp_path: Path, data: Data) -> None:
    whole, broken = experiment(tmp_path / "whole"), experiment(tmp_path / "broken")
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(2))
    with (run_folder(broken) / FILE_NAME).open("a") as file:
        file.write('{"step": 4, "warnings": ["of a step that is taken again"]}\n{"step": 6, "ten')
    train(broken, data, resume=True, quiet=True)
    assert read_watch(run_folder(broken)) == read_watch(run_folder(whole))


def test_the_interval_may_change_on_resume_and_float32_is_not_watched(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(2))
    train(experiment(tmp_path, watch_every=0), data, resume=True, quiet=True)
    assert [line["step"] for line in read_watch(run_folder(chosen))] == [1, 3]
    floats = experiment(tmp_path, arithmetic="fp32", watch_every=None)
    train(floats, data, quiet=True)
    assert read_watch(run_folder(floats)) == []


def test_rates_are_tensorboard_scalars(tmp_path: Path, data: Data) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    chosen = experiment(tmp_path)
    train(chosen, data, quiet=True)
    events = EventAccumulator(str(run_folder(chosen) / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"watch/weight/zero/0", "watch/activation_gradient/underflow/1", "watch/update/unchanged/12"} <= tags
    (line, *_) = read_watch(run_folder(chosen))
    recorded = events.Scalars("watch/weight_gradient/sqnr_db/12")[0]
    assert recorded.step == 1
    assert recorded.value == pytest.approx(line["gradients"][-1]["sqnr_db"], rel=1e-6)


DIGITS = {
    "subset": {},
    "model": {"name": "cnn", "width": 0.5},
    "optimizer": {"name": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4},
    "schedule": {"kind": "cosine"},
    "batch": 64,
    "seed": 1,
    "watch_every": 11,
}


@pytest.mark.parametrize(
    ("arithmetic", "kinds"),
    [
        ("LNS(5,5) designed", []),
        pytest.param("LNS(4,3) designed", ["more rounding noise than signal"], marks=pytest.mark.long),
        ("LNS(4,2) exact", ["of updates change no bit", "more rounding noise than signal"]),
    ],
)
def test_runs_that_fail_are_warned_of_and_healthy_ones_are_not(
    tmp_path: Path, arithmetic: str, kinds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = experiment(tmp_path, arithmetic=arithmetic, **DIGITS)
    result = train(chosen)
    warnings = [text for line in read_watch(run_folder(chosen)) for text in line["warnings"]]
    said = capsys.readouterr().err
    assert result.accuracy is not None
    assert (result.accuracy > 0.9) == (not kinds)
    assert bool(warnings) == bool(kinds)
    assert all(any(kind in text for text in warnings) for kind in kinds)
    assert all(f"warning: {text}" in said for text in warnings)
    assert len({(text.split(":")[0], text.split(" %")[-1]) for text in warnings}) == len(warnings)  # once each
