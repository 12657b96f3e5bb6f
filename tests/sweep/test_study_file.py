from pathlib import Path

import pytest

from slipstick.errors import SpecificationError
from slipstick.sweep import load_study
from sweep.studies import EXPERIMENT, SPACE, write_study

TWO = 'objectives = ["accuracy", "bits"]'


def test_a_single_objective_needs_no_list(tmp_path: Path) -> None:
    assert load_study(write_study(tmp_path, 'objectives = "loss"'))[0].objectives == ("loss",)


@pytest.mark.parametrize(
    ("top", "space", "message"),
    [
        ("trails = 5", SPACE, "trails: unknown key; did you mean 'trials'?"),
        ('objectives = ["accurracy"]', SPACE, "objectives[0] = 'accurracy': must be 'accuracy', 'loss'"),
        ('objectives = ["bits", "bits"]', SPACE, "objectives lists 'bits' twice; keep one"),
        (f'{TWO}\npruner = "median"', SPACE, "pruner = 'median': Optuna prunes studies of one objective, here are 2; "),
        (
            'objectives = ["bits"]\npruner = "median"',
            SPACE,
            "bits does not change from epoch to epoch; drop the pruner",
        ),
        ("sampler = {name = 'grid', startup = 3}", SPACE, "startup is an option of 'tpe', not of 'grid'; drop it"),
        ("sampler = 'grid'", SPACE, "space.optimizer.lr: a grid cannot list this range; give step"),
        ("seeds = [1, 2]", "[space]\nseed = [1, 2]", "seeds and space.seed both choose the seed; keep one"),
        ("", "[space]", "space: has nothing to vary; write a list of choices"),
        ("", "[space]\nbatch = []", "space.batch = []: give at least one choice"),
        ("", "[space]\nbatch = [8, 8]", "space.batch: 8 is listed twice; keep one"),
        ("", "[space]\nbatch = 8", "space.batch = 8: write a list of choices"),
        ("", "[space]\nbatch = {low = 8}", "space.batch: needs low and high; write"),
        ("", "[space]\nbatch = {low = 8, high = 9, setp = 1}", "space.batch: unknown key 'setp'; write"),
        ("", "[space]\nbatch = {low = 8, high = 4}", "space.batch: low = 8 is not below high = 4"),
        ("", "[space]\noptimizer.lr = {low = 0, high = 4, log = true}", "log = true needs low above 0, not 0"),
        ("", "[space]\noptimizer.lrr = [1, 2]", "optimizer.lrr: unknown key; did you mean 'lr'?"),
        ("", "[space]\nbits = [1, 2]", "bits: unknown key; known are "),
        ("", "[space]\nbatch = ['a', 'b']", "must be a valid integer"),
        ("", "[space]\nbatch.size = [1, 2]", "space.batch.size: 'batch' is a single value, not a table"),
        ("", "[space]\nname = ['a', 'b']", "space.name: the sweep sets this one; drop it"),
        ("", '[space]\narithmetic = "LNS(5,{f})"\nbatch = [8, 16]', "{f} stands in a text, and space has no 'f'"),
        ("", '[space]\narithmetic = "LNS(5,{f}) hamad2025"\nf = [1, 2]', "no table for frac_bits="),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path: Path, top: str, space: str, message: str) -> None:
    path = write_study(tmp_path, top, space)
    with pytest.raises(SpecificationError) as error:
        load_study(path)
    assert str(error.value).startswith((f"{path}: ", "space."))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_experiment_may_be_a_file_beside_the_study_and_take_overrides(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(EXPERIMENT.replace("[experiment]", ""))
    path = write_study(tmp_path, experiment='experiment = "base.toml"')
    study, _ = load_study(path, ["experiment.epochs=7", "trials=3"])
    assert (study.experiment["epochs"], study.trials, study.name) == (7, 3, "study")


SPACES = """
[space]
arithmetic = ["LNS({i},{f}) exact", "fp32"]
i = {low = 4, high = 6, step = 2}
f = [3, 4]
quantize.weight.format.frac_bits = [4]
optimizer = [{name = "sgd", lr = 0.1}, {name = "madam"}]
optimizer.lr = [0.5]
"""


def test_texts_are_filled_and_keys_set_the_shorter_paths_first(tmp_path: Path) -> None:
    space = SPACES.replace("optimizer = [", '"optimizer" = [').replace("optimizer.lr", '"optimizer.lr"')
    experiment = EXPERIMENT.replace("[experiment]", "[experiment]\nquantize = 'luq2021'")
    _, found = load_study(write_study(tmp_path, space=space, experiment=experiment))
    points = list(found.points())
    assert len(points) == found.size == 2 * 2 * 2 * 2
    data = found.experiment(points[0])
    assert data["arithmetic"] == "LNS(4,3) exact"
    assert data["optimizer"] == {"name": "sgd", "lr": 0.5}
    assert data["quantize"] == {"recipe": "luq2021", "weight": {"format": {"frac_bits": 4}}}
    assert found.experiment(points[-1])["arithmetic"] == "fp32"
    assert {"i", "f"}.isdisjoint(data)
    assert [found.experiment(point)["optimizer"]["name"] for point in points[:2]] == ["sgd", "madam"]


def test_a_key_that_only_some_points_have_is_accepted(tmp_path: Path) -> None:
    space = '[space]\noptimizer.name = ["adam", "sgd"]\noptimizer.momentum = [0.5, 0.9]'
    load_study(write_study(tmp_path, space=space))
