import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import slipstick as ss
from interruptions import StopAfter
from slipstick.errors import NonFiniteError, SpecificationError
from slipstick.train import Data, Interrupted, compare, load_data, run_folder, train
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.config import Comparison, Experiment
from slipstick.train.interrupts import StopRequest
from slipstick.train.loop import Run
from slipstick.train.metrics import Row, read_metrics
from slipstick.train.run_folder import folder_state, read_experiment

ARITHMETICS = ["fp32", "LNS(5,5) hamad2025"]
TIMES = ("step_seconds", "elapsed_seconds")


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


def experiment(out: Path, **fields: object) -> Experiment:
    small = {
        "subset": {"train": 40, "test": 20},
        "augment": {"flip": True, "pad": 1},
        "model": {"name": "cnn", "width": 0.25},
        "schedule": {"kind": "cosine"},
        "batch": 10,
        "epochs": 2,
        "log_every": 3,
        "seed": 7,
        "threads": 1,
    }
    return Experiment(name="trial", out=str(out), **{**small, **fields})


def final_bits(folder: Path) -> tuple[str, list[dict[str, str]]]:
    """The hash of every tensor at the end, and all metrics but the times."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return newest_index(folder)["tensors_sha256"], rows


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("stop_after", [1, 2, 4, 5])
def test_an_interrupted_and_resumed_run_ends_in_the_same_bits(
    tmp_path: Path, data: Data, arithmetic: str, stop_after: int
) -> None:
    whole = experiment(tmp_path / "whole", arithmetic=arithmetic)
    train(whole, data, quiet=True)
    broken = experiment(tmp_path / "broken", arithmetic=arithmetic)
    with pytest.raises(Interrupted) as stopped:
        train(broken, data, quiet=True, stop=StopAfter(stop_after))
    assert stopped.value.signal_number == signal.SIGINT
    assert folder_state(run_folder(broken)) == "started"
    torch.manual_seed(0)  # a resumed run must not depend on the process it resumes in
    result = train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))
    assert (result.status, result.steps) == ("finished", 8)


def test_what_after_epoch_raises_ends_the_run_and_leaves_a_folder_that_resumes(tmp_path: Path, data: Data) -> None:
    class Enough(Exception):
        pass

    def stop_at_once(row: Row) -> None:
        raise Enough(f"{row.kind} {row.epoch}")

    whole, broken = experiment(tmp_path / "whole"), experiment(tmp_path / "broken")
    train(whole, data, quiet=True)
    with pytest.raises(Enough, match="epoch 1"):
        train(broken, data, quiet=True, after_epoch=stop_at_once)
    assert folder_state(run_folder(broken)) == "started"
    seen: list[Row] = []
    train(broken, data, quiet=True, resume=True, after_epoch=seen.append)
    assert [(row.kind, row.epoch) for row in seen] == [("epoch", 2)]
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))


def test_rows_after_the_checkpoint_are_dropped_on_resume(tmp_path: Path, data: Data) -> None:
    whole, broken = experiment(tmp_path / "whole"), experiment(tmp_path / "broken")
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(2))
    with (run_folder(broken) / "metrics.csv").open("a") as file:
        file.write("step,1,3,0.1,9,9,,,1,1\nstep,1,6,0.")  # as a crash would leave it
    train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))


def test_dropout_resumes_in_the_same_bits(tmp_path: Path) -> None:
    fields = {"model": {"name": "vgg11", "width": 0.01, "dropout": 0.5}, "image_size": None}
    pixels = torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    whole, broken = (experiment(tmp_path / name, **fields) for name in ("whole", "broken"))
    data = load_data(whole)
    images = type(data.train)(pixels, torch.arange(20) % 10)
    data = replace(data, train=images, test=images)
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(1))
    train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))


def test_a_run_depends_on_its_seed_and_leaves_the_callers_generator_alone(tmp_path: Path, data: Data) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    runs = [experiment(tmp_path / name, seed=seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))]
    for run in runs:
        train(run, data, quiet=True)
    a, b, c = (final_bits(run_folder(run)) for run in runs)
    assert a == b
    assert a != c
    assert torch.equal(torch.rand(1), expected)


def test_compared_runs_start_from_the_same_weights(data: Data) -> None:
    first, second = (Run(experiment(Path(), arithmetic=a), data).model for a in ARITHMETICS)
    arithmetic = ss.LogArithmetic(ss.LNS(5, 5), "hamad2025")
    ss.snap_(first, arithmetic)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_weights_live_on_the_grid_of_the_update(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, arithmetic="LNS(5,4) exact", update="LNS(5,8) exact", epochs=1)
    run = Run(chosen, data)
    train(chosen, data, quiet=True)
    from slipstick.train.checkpoints import load_checkpoint

    load_checkpoint(run_folder(chosen), run.model, run.optimizer)
    fine, coarse = ss.LNS(5, 8), ss.LNS(5, 4)
    weights = torch.cat([parameter.detach().flatten() for parameter in run.model.parameters()])
    assert torch.equal(fine.decode(fine.encode(weights)), weights)
    assert not torch.equal(coarse.decode(coarse.encode(weights)), weights)


def test_a_run_folder_holds_what_is_needed_to_repeat_it(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, arithmetic="LNS(5,5) hamad2025")
    result = train(chosen, data, quiet=True)
    folder = run_folder(chosen)
    assert folder == tmp_path / "trial" / "lns-5-5-hamad2025"
    assert read_experiment(folder) == chosen
    (start,) = json.loads((folder / "environment.json").read_text())
    assert start["torch"] == torch.__version__
    assert start["threads"] == 1
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["totals"]["defined"] > 0
    rows = read_metrics(folder)
    assert [(row.kind, row.epoch, row.step) for row in rows] == [
        ("step", 1, 3),
        ("epoch", 1, 4),
        ("step", 2, 6),
        ("epoch", 2, 8),
    ]
    assert result.accuracy == rows[-1].test_accuracy
    assert list((folder / "tensorboard").iterdir())


def test_a_run_that_is_there_is_neither_replaced_nor_mixed_up(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, epochs=1)
    first = train(chosen, data, quiet=True)
    with pytest.raises(SpecificationError, match="holds a complete run; add --resume to continue or --overwrite"):
        train(chosen, data, quiet=True)
    with pytest.raises(SpecificationError, match="was started with epochs = 1, not 2; change it back"):
        train(experiment(tmp_path), data, resume=True, quiet=True)
    assert train(chosen, data, resume=True, quiet=True) == first
    assert train(experiment(tmp_path), data, overwrite=True, quiet=True).epochs == 2


def test_a_comparison_skips_what_is_complete(tmp_path: Path, data: Data) -> None:
    runs = tuple(experiment(tmp_path, arithmetic=a, epochs=1) for a in ("fp32", "LNS(5,5) exact"))
    train(runs[0], data, quiet=True)
    before = (run_folder(runs[0]) / "result.json").stat().st_mtime_ns
    results = compare(Comparison(name="trial", out=str(tmp_path), runs=runs), resume=True, quiet=True)
    assert [result.status for result in results] == ["finished", "finished"]
    assert (run_folder(runs[0]) / "result.json").stat().st_mtime_ns == before


def test_an_impossible_pair_of_arithmetics_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    runs = (experiment(tmp_path), experiment(tmp_path, arithmetic="LNS(5,5) exact", update="LNS(5,4) exact"))
    with pytest.raises(SpecificationError, match="update"):
        compare(Comparison(name="trial", out=str(tmp_path), runs=runs), quiet=True)
    assert not list(tmp_path.iterdir())


def test_a_diverged_run_is_a_result(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, optimizer={"name": "sgd", "lr": 1e30})
    result = train(chosen, data, quiet=True)
    assert result.status == "diverged"
    assert "try a lower optimizer.lr" in result.message
    assert folder_state(run_folder(chosen)) == "complete"


def test_a_nan_in_an_arithmetic_is_a_diverged_run(tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NonFiniteError("log: NaN")

    monkeypatch.setattr(Run, "_step", fail)
    assert train(experiment(tmp_path), data, quiet=True).message == "log: NaN (epoch 1)"


def test_a_signal_stops_after_the_step_and_a_second_one_at_once() -> None:
    previous = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        assert stop.requested is None
        signal.raise_signal(signal.SIGINT)
        assert stop.requested == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is previous
    assert signal.getsignal(signal.SIGINT) is previous


def test_a_loss_scale_changes_no_bit_of_floats_and_lets_linear_numbers_see_small_gradients(
    tmp_path: Path, data: Data
) -> None:
    def end(arithmetic: str, scale: float) -> tuple[str, list[dict[str, str]]]:
        run = experiment(tmp_path / f"{arithmetic[:4]}-{scale}", arithmetic=arithmetic, loss_scale=scale)
        train(run, data, quiet=True)
        return final_bits(run_folder(run))

    assert end("fp32", 256.0) == end("fp32", 1.0)
    assert end("FixedPoint(4,9) rounded", 256.0) != end("FixedPoint(4,9) rounded", 1.0)


def test_a_loss_scale_is_a_power_of_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"100 is not a power of two; take e\.g\. 128"):
        experiment(tmp_path, loss_scale=100)
