"""The table of targets is measured and judged as it says, and what moved is told."""

from pathlib import Path

import pytest

from slipstick.bench.baseline import baseline_file, machine_class, moved, read_baseline, write_baseline
from slipstick.bench.targets import Measured, Sizes, Target, targets
from slipstick.cli import bench
from slipstick.errors import SpecificationError
from slipstick.kernels.spec import instruction_set

SMALL = Sizes(matmuls=((16, 16, 32), (8, 40, 20)), growth=(16, 32), batch=4, width=0.1, repeats=1)


def test_every_target_has_a_name_of_its_own_and_a_measurement() -> None:
    found = list(targets(SMALL))
    assert len({target.name for target in found}) == len(found) == 23
    for target in found:
        if "ResNet" not in target.name:  # the steps below are of the same kind, and quicker
            measured = target.measure()
            assert measured.value >= 0 if target.sense == "at most" else measured.value > 0
    share = next(target for target in found if target.name.startswith("share"))
    assert 0 < share.measure().value < 1


@pytest.mark.parametrize(("sense", "value", "met"), [("at least", 0.5, True), ("at least", 0.49, False)])
def test_a_bar_is_met_or_not(sense: str, value: float, met: bool) -> None:
    at_least = Target("t", 0.5, lambda: Measured(value), isa="any")
    assert at_least.met(value) == met
    assert Target("t", 0.5, lambda: Measured(value), "at most", isa="any").met(value) == (value <= 0.5)


def test_a_bar_of_another_instruction_set_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = "avx2" if instruction_set() != "avx2" else "avx512"
    rows = [
        Target("here", 0.4, lambda: Measured(0.5, "as told"), isa="any"),
        Target("slow", 6.0, lambda: Measured(8.0), "at most", "x", "any"),
        Target("elsewhere", 0.4, lambda: Measured(0.1), isa=other),
    ]
    monkeypatch.setattr(bench, "targets", lambda sizes: iter(rows))
    bench.print_targets(baselines=tmp_path, record=True)
    told = capsys.readouterr().out
    assert "| here | ≥ 0.4 | 0.5 | met | as told |" in told
    assert "| slow | ≤ 6x | 8x | **not met** |  |" in told
    assert f"| elsewhere | ≥ 0.4 | 0.1 | bar is for {other} |  |" in told
    assert "no baseline" in told
    rows[0] = Target("here", 0.4, lambda: Measured(0.3))
    bench.print_targets(baselines=tmp_path)
    told = capsys.readouterr().out
    assert "here: 0.5 before, 0.3 now (-40%)" in told
    assert "slow:" not in told


def test_what_moved_by_more_than_a_tenth_is_told(tmp_path: Path) -> None:
    path = baseline_file(tmp_path / "new")
    assert path.name == f"{machine_class()}.json"
    assert read_baseline(path) == {}
    write_baseline(path, {"a": 0.5, "b": 0.5, "gone": 1.0})
    found = moved(read_baseline(path), {"a": 0.54, "b": 0.56, "new": 3.0})
    assert [str(move) for move in found] == ["b: 0.5 before, 0.56 now (+12%)"]
    path.write_text("[1]")
    with pytest.raises(SpecificationError, match="no table of ratios"):
        read_baseline(path)
