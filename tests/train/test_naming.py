"""Names of runs and folders: readable, distinct, and those that runs always had."""

from pathlib import Path

import pytest

from slipstick.errors import SpecificationError
from slipstick.train import load_comparison, run_folder, run_label
from slipstick.train.config import Experiment

LOG = "miyashita2016-inference"


def names(tmp_path: Path, text: str) -> tuple[list[str], list[str]]:
    """Labels and folders of the runs of a comparison."""
    (tmp_path / "trial.toml").write_text(text)
    runs = load_comparison(tmp_path / "trial.toml").runs
    return [run_label(run) for run in runs], [run_folder(run).name for run in runs]


@pytest.mark.parametrize(
    ("fields", "label", "folder"),
    [
        ({}, "fp32", "fp32"),
        ({"optimizer": {"name": "adamw"}}, "fp32", "fp32"),
        ({"optimizer": {"name": "madam"}}, "fp32, madam", "fp32--madam"),
        ({"weights": "some/run"}, "fp32", "fp32"),
        ({"quantize": "wage"}, "wage", "wage"),
        ({"quantize": "fp8", "optimizer": {"name": "adamw"}}, "fp8, adamw", "fp8--adamw"),
        (
            {"arithmetic": "LNS(5,5) exact", "update": "LNS(5,9) exact"},
            "LNS(5,5) exact, update LNS(5,9) exact",
            "lns-5-5-exact--update-lns-5-9-exact",
        ),
    ],
)
def test_a_run_by_itself_has_the_name_it_always_had(fields: dict[str, object], label: str, folder: str) -> None:
    run = Experiment(name="a", **fields)
    assert (run_label(run), run_folder(run).name) == (label, folder)


def test_runs_that_differ_in_the_optimiser_only(tmp_path: Path) -> None:
    text = """
    optimizer = {name = "sgd", lr = 0.1}
    [[runs]]
    arithmetic = "fp32"
    [[runs]]
    arithmetic = "fp32"
    optimizer = {name = "adamw"}
    [[runs]]
    arithmetic = "fp32"
    optimizer = {name = "adamw", lr = 0.01, beta2 = 0.99}
    [[runs]]
    arithmetic = "fp32"
    optimizer = {name = "sgd", lr = 1e-5}
    [[runs]]
    arithmetic = "LNS(5,5)"
    optimizer = {name = "adamw"}
    """
    labels, folders = names(tmp_path, text)
    assert labels == [
        "fp32",
        "fp32, adamw",
        "fp32, adamw lr=0.01 beta2=0.99",
        "fp32, lr=1e-05",
        "LNS(5,5) exact",
    ]
    assert folders == [
        "fp32",
        "fp32--adamw",
        "fp32--adamw-lr-0.01-beta2-0.99",
        "fp32--lr-1e-05",
        "lns-5-5-exact",
    ]


def test_recipes_with_several_settings_of_one_optimiser(tmp_path: Path) -> None:
    text = """
    [[runs]]
    quantize = "lns-madam2021"
    optimizer = {name = "madam", lr = 0.0625, additive = {lr = 0.05}}
    [[runs]]
    quantize = "lns-madam2021"
    optimizer = {name = "madam", lr = 0.015625}
    [[runs]]
    quantize = "wage"
    optimizer = {name = "sgd", lr = 0.25}
    """
    assert names(tmp_path, text) == (
        ["lns-madam2021, madam lr=0.0625 additive.lr=0.05", "lns-madam2021, madam lr=0.015625", "wage"],
        ["lns-madam2021--madam-lr-0.0625-additive.lr-0.05", "lns-madam2021--madam-lr-0.015625", "wage"],
    )


def test_runs_that_differ_in_their_initial_weights_only(tmp_path: Path) -> None:
    rows = "\n".join(f'[[runs]]\narithmetic = "fp32"\nweights = "runs/{run}/fp32"' for run in ("long", "short"))
    assert names(tmp_path, f'[[runs]]\narithmetic = "fp32"\n{rows}') == (
        ["fp32", "fp32, weights=long/fp32", "fp32, weights=short/fp32"],
        ["fp32", "fp32--weights-long-fp32", "fp32--weights-short-fp32"],
    )


def test_changes_of_a_recipe_are_told_by_their_keys(tmp_path: Path) -> None:
    changes = (
        "weight.format.bits = 3",
        "weight.format.bits = 4",
        'weight = "full_precision", activation.format = {bits = 3, base = "sqrt2"}',
        'weight.format = {format = "FixedPoint", int_bits = 0, frac_bits = 3}',
        'activation.range = {kind = "calibrated"}',
        "activation.format.fsr = 1",
        "activation.format.fsr = -1",
        "layers = []",
    )
    rows = "".join(f'[[runs]]\nquantize = {{recipe = "{LOG}", {change}}}\n' for change in changes)
    labels, folders = names(tmp_path, rows)
    assert labels[:4] == [
        f"{LOG} weight.format.bits=3",
        f"{LOG} weight.format.bits=4",
        f"{LOG} weight=full_precision activation.format.bits=3 activation.format.base=sqrt2",
        f"{LOG} weight.format.format=FixedPoint weight.format.int_bits=0 weight.format.frac_bits=3 "
        "weight.format.signed=true weight.format.rounding=half-away weight.format.symmetric=false",
    ]
    assert labels[4] == f"{LOG} activation.range.scale=default activation.range.towards=default"
    assert labels[7] == f"{LOG} layers=default"
    assert folders[0].startswith(f"{LOG}-weight.format.bits-3-")
    assert all(len(folder) < 130 for folder in folders)
    assert len(set(labels)) == len(set(folders)) == len(changes)


def test_what_is_really_the_same_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match="the run 'fp32' is listed twice"):
        names(tmp_path, 'arithmetics = ["fp32", "fp32"]')
    row = '[[runs]]\narithmetic = "fp32"\noptimizer = {name = "adamw"}\n'
    with pytest.raises(SpecificationError, match="the run 'fp32, adamw' is listed twice"):
        names(tmp_path, row + row)


def test_a_variant_of_ones_own_names_a_run() -> None:
    run = Experiment(name="a", variant="Second try")
    assert (run_label(run), run_folder(run).name) == ("fp32, Second try", "fp32--second-try")
