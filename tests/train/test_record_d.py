"""distances.json of a training run: what it holds, what it costs in bits (nothing), and that resuming completes it."""

import json
import signal
from pathlib import Path

import pytest
from test_loop import StopAfter, experiment, final_bits

from slipstick.arithmetic.distances import FILE_NAME, load_distances, read_distances
from slipstick.cli import main
from slipstick.errors import SpecificationError
from slipstick.train import Data, Interrupted, load_data, run_folder, train
from slipstick.train.distance_log import RECORD_EVERY
from slipstick.train.loop import Run

LNS12 = "LNS(5,5) hamad2025"


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data(experiment(Path()))


def test_recording_leaves_the_run_as_it_is(tmp_path: Path, data: Data) -> None:
    plain, watched = (experiment(tmp_path / name, arithmetic=LNS12) for name in ("plain", "watched"))
    train(plain, data, quiet=True)
    train(watched, data, quiet=True, record_every=1)
    assert final_bits(run_folder(watched)) == final_bits(run_folder(plain))
    assert not (run_folder(plain) / FILE_NAME).exists()


def test_the_file_holds_every_phase_of_the_steps_looked_at(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, arithmetic="LNS(5,4) exact", update="LNS(5,8) exact")
    result = train(chosen, data, quiet=True, record_every=3)
    recorded = read_distances(run_folder(chosen))
    assert recorded.steps == 3  # 0, 3 and 6 of 8
    assert {key: part.frac_bits for key, part in recorded.parts.items()} == {
        ("forward", "sums"): 4,
        ("forward", "elements"): 4,
        ("backward", "sums"): 4,
        ("backward", "elements"): 4,
        ("update", "elements"): 8,
    }
    running = sum(b.numel() for name, b in Run(chosen, data).model.named_buffers() if "running" in name)
    # The first step of SGD adds once per parameter, those with momentum twice.
    assert recorded.parts["update", "elements"].additions == pytest.approx(5 * result.parameters + 3 * running)
    histogram = load_distances(run_folder(chosen))
    assert min(histogram.plus.sum(), histogram.minus.sum(), histogram.zero) > 0


@pytest.mark.parametrize("stop_after", [1, 4, 5])
def test_an_interrupted_and_resumed_run_records_the_same(tmp_path: Path, data: Data, stop_after: int) -> None:
    whole, broken = (experiment(tmp_path / name, arithmetic=LNS12) for name in ("whole", "broken"))
    train(whole, data, quiet=True, record_every=2)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(stop_after), record_every=2)
    before = read_distances(run_folder(broken)).steps
    assert before == (stop_after + 1) // 2
    train(broken, data, resume=True, quiet=True, record_every=2)
    files = [json.loads((run_folder(run) / FILE_NAME).read_text()) for run in (whole, broken)]
    assert files[0] == files[1]
    assert files[0]["steps"] == 4


def test_a_run_may_be_recorded_from_its_resumption_on_or_not_any_more(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, arithmetic=LNS12)
    with pytest.raises(Interrupted) as stopped:
        train(chosen, data, quiet=True, stop=StopAfter(2))
    assert stopped.value.signal_number == signal.SIGINT
    with pytest.raises(Interrupted):
        train(chosen, data, resume=True, quiet=True, stop=StopAfter(2), record_every=1)
    assert read_distances(run_folder(chosen)).steps == 2
    train(chosen, data, resume=True, quiet=True)
    assert read_distances(run_folder(chosen)).steps == 2


@pytest.mark.parametrize("record_every", [None, 1])
@pytest.mark.parametrize("harm", ["damaged", "ahead", "missing"])
def test_the_file_is_that_of_the_checkpoint_a_run_goes_on_from(
    tmp_path: Path, data: Data, harm: str, record_every: int | None
) -> None:
    chosen = experiment(tmp_path, arithmetic=LNS12)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(2), record_every=1)
    file = run_folder(chosen) / FILE_NAME
    match harm:
        case "damaged":
            file.write_text("{")
        case "ahead":
            file.write_text(json.dumps({**json.loads(file.read_text()), "steps": 99}))
        case "missing":
            file.unlink()
    train(chosen, data, resume=True, quiet=True, record_every=record_every)
    assert read_distances(run_folder(chosen)).steps == (3 if record_every is None else 8)


def test_a_file_written_after_the_checkpoint_is_removed(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, arithmetic=LNS12)
    with pytest.raises(Interrupted):
        train(chosen, data, quiet=True, stop=StopAfter(2))
    (run_folder(chosen) / FILE_NAME).write_text("{")
    train(chosen, data, resume=True, quiet=True)
    assert not (run_folder(chosen) / FILE_NAME).exists()


def test_overwriting_a_run_starts_a_new_file(tmp_path: Path, data: Data) -> None:
    chosen = experiment(tmp_path, arithmetic=LNS12, epochs=1)
    train(chosen, data, quiet=True, record_every=1)
    train(chosen, data, quiet=True, overwrite=True, record_every=2)
    assert read_distances(run_folder(chosen)).steps == 2
    train(chosen, data, quiet=True, overwrite=True)
    assert not (run_folder(chosen) / FILE_NAME).exists()


@pytest.mark.parametrize("arithmetic", ["fp32", "LNS(5,5) rounded"])
def test_what_adds_no_logarithms_is_refused_before_anything_is_written(
    tmp_path: Path, data: Data, arithmetic: str
) -> None:
    with pytest.raises(SpecificationError, match="has no log additions whose distances could be recorded"):
        train(experiment(tmp_path, arithmetic=arithmetic), data, quiet=True, record_every=1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(SpecificationError, match="record_every = 0: must be a positive number of steps"):
        train(experiment(tmp_path, arithmetic=LNS12), data, quiet=True, record_every=0)


def test_the_command_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trial.toml").write_text('subset = {train = 220, test = 20}\nbatch = 10\nepochs = 1\nmodel = {name = "mlp"}\n')
    assert main(["train", "trial.toml", "--record-d"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("slipstick: arithmetic = 'fp32': has no log additions")
    assert error.count("\n") == 1
    assert main(["train", "trial.toml", "--record-d", "--set", "arithmetic=LNS(5,5)"]) == 0
    (file,) = Path("runs").rglob(FILE_NAME)
    assert read_distances(file).steps == 1 + 21 // RECORD_EVERY
