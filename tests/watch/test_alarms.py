from dataclasses import replace

import pytest

from slipstick.watch import Counts, GradientLook, Look, TensorLook, UpdateLook
from slipstick.watch.alarms import Alarms


def look(
    step: int, unchanged: int = 0, db: float | None = 20.0, octave: int = -3, lr: float = 0.1, **ends: int
) -> Look:
    """One layer of 100 weights whose gradients are all in one octave; ``ends`` are counts of activation gradients."""
    gradients = Counts(100, 0, 0, 0, {octave: 100})
    back = replace(Counts(100, 50, 0, 0, {octave: 50}), **ends)
    tensors = (TensorLook("fc", "weight_gradient", gradients), TensorLook("fc", "activation_gradient", back))
    return Look(step, lr, tensors, (UpdateLook("fc", 100, unchanged),), (GradientLook("fc", db, 0.0),))


def told(looks: list[Look], recipe: bool = False) -> list[tuple[int, str]]:
    alarms = Alarms(recipe)
    return [(each.step, text) for each in looks for text in alarms.warnings(each)]


def test_lost_updates_are_told_once_at_the_second_look_in_a_row() -> None:
    found = told([look(1, 90), look(2, 10), look(3, 90), look(4, 91), look(5, 95)])
    assert [step for step, _ in found] == [4]
    assert found[0][1].startswith("fc: 91 % of updates change no bit")


def test_updates_lost_because_training_has_converged_or_slowed_down_are_no_reason() -> None:
    assert told([look(1), look(2, 95, octave=-6), look(3, 99, octave=-6)]) == []
    assert told([look(1), look(2, 95, lr=0.01), look(3, 99, lr=0.01)]) == []
    assert told([look(1), look(2, 95), look(3, 99)]) != []


def test_weights_without_gradients_are_no_lost_updates() -> None:
    frozen = Look(1, 0.1, (TensorLook("fc", "weight_gradient", Counts(100, 100)),), (UpdateLook("fc", 100, 0),), ())
    assert told([frozen, replace(frozen, step=2)]) == []


def test_zeros_of_relu_are_no_reason() -> None:
    tensors = (TensorLook("fc", "activation", Counts(100, 95, 0, 0, {0: 5})),)
    assert told([Look(step, 0.1, tensors, (), ()) for step in (1, 2)]) == []


def test_noise_is_told_while_updates_are_large() -> None:
    assert told([look(1, db=-4.0), look(2, db=-6.0)])[0][1].startswith("fc: weight gradients hold more rounding noise")
    assert told([look(1), look(2, db=-4.0, octave=-6), look(3, db=-6.0, octave=-6)]) == []
    assert told([look(1, db=None), look(2, db=None)]) == []


@pytest.mark.parametrize(("end", "number", "words"), [("saturated", 2, "largest"), ("underflow", 30, "smallest")])
def test_ends_of_the_format_are_told_except_where_a_recipe_chose_them(end: str, number: int, words: str) -> None:
    looks = [look(step, **{end: number}) for step in (1, 2)]
    assert f"activation gradients are at the format's {words} magnitude" in told(looks)[0][1]
    assert told(looks, recipe=True) == []


def test_the_same_looks_lead_to_the_same_state() -> None:
    looks = [look(1, 90), look(2, 90), look(3, 90, -9.0), look(4, 90, -9.0), look(5, 90, -9.0)]
    for cut in range(len(looks)):
        resumed = Alarms(False)
        for each in looks[:cut]:
            resumed.warnings(each)
        found = [(each.step, text) for each in looks[cut:] for text in resumed.warnings(each)]
        assert found == [(step, text) for step, text in told(looks) if step > cut]
