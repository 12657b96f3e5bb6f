"""Experiments with modules in arithmetics of their own: from TOML to a run that resumes in the same bits."""

import json
from pathlib import Path

import pytest
from test_loop import StopAfter, experiment, final_bits

from slipstick.errors import SpecificationError
from slipstick.train import Interrupted, load_comparison, load_data, load_experiment, run_folder, run_label, train
from slipstick.train.checkpoint_files import newest_index
from slipstick.train.experiment_files import experiment_toml

BASE = {"arithmetic": "LNS(5,5) designed", "update": "LNS(5,8) exact"}
FIRST, LAST = "LNS(5,7) exact", "LNS(5,6) exact"


def names() -> tuple[str, str]:
    """Of the first and the last layer with weights."""
    from slipstick.train.loop import Run

    plain = experiment(Path())
    layers = [name for name, m in Run(plain, load_data(plain)).model.named_modules() if hasattr(m, "weight")]
    return layers[0], layers[-1]


def test_an_interrupted_and_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    first, last = names()
    override = {first: FIRST, last: LAST}
    whole, broken = (experiment(tmp_path / each, **BASE, override=override) for each in ("whole", "broken"))
    data = load_data(whole)
    train(whole, data, quiet=True)
    with pytest.raises(Interrupted):
        train(broken, data, quiet=True, stop=StopAfter(3))
    train(broken, data, resume=True, quiet=True)
    assert final_bits(run_folder(broken)) == final_bits(run_folder(whole))
    execution = newest_index(run_folder(whole))["execution"]
    assert execution[f"override {last}"]["arithmetic"]["format"] == {
        "int_bits": 5,
        "frac_bits": 6,
        "underflow": "saturate",
    }
    plain = experiment(tmp_path / "plain", **BASE)
    train(plain, data, quiet=True)
    assert final_bits(run_folder(plain))[0] != final_bits(run_folder(whole))[0]


def test_the_run_says_so_and_its_file_reads_back(tmp_path: Path) -> None:
    chosen = experiment(tmp_path, **BASE, override={"layers.0": FIRST})
    assert run_label(chosen).endswith(", layers.0 in LNS(5,7) exact")
    assert run_folder(chosen).name.endswith("--layers.0-in-lns-5-7-exact")
    path = tmp_path / "again.toml"
    path.write_text(experiment_toml(chosen))
    assert load_experiment(path) == chosen
    rows = [{"arithmetic": BASE["arithmetic"]}, {**BASE, "override": {"layers.0": FIRST}}]
    text = "".join(
        "[[runs]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in row.items() if k != "override")
        + ("[runs.override]\n\"layers.0\" = " + json.dumps(FIRST) + "\n" if "override" in row else "")
        for row in rows
    )  # fmt: skip
    path.write_text(text)
    assert [run.override for run in load_comparison(path).runs] == [None, {"layers.0": FIRST}]


@pytest.mark.parametrize(
    "fields", [{"arithmetic": "fp32"}, {"arithmetic": "LNS(5,5) designed", "override": {"a": "fp32"}}]
)
def test_float_has_no_modules_of_its_own(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"override 'a' = .* does not go with arithmetic"):
        experiment(tmp_path, **{"override": {"a": FIRST}, **fields})


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    wrong = experiment(tmp_path, **BASE, override={"heat": FIRST})
    with pytest.raises(SpecificationError, match="override 'heat': no module of"):
        train(wrong, load_data(wrong), quiet=True)
