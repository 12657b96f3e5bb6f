"""Tables by a short index: classes are what they say, entries end in zero, and arithmetic uses them bit for bit."""

import json

import numpy as np
import pytest
import torch

import slipstick
from grid import every_code
from slipstick import LNS, LogArithmetic, SpecificationError
from slipstick.arithmetic import IndexedTable, IndexForm, arithmetic_from_dict
from slipstick.arithmetic.adder_data import adder_from_dict
from slipstick.arithmetic.gaussian_logarithm import CANCEL
from slipstick.kernels import reference

FORMS = [IndexForm(0, 63, 63), IndexForm(2, 20, 63), IndexForm(1, 1, 7), IndexForm(3, 5, 5), IndexForm(6, 30, 255)]
each_form = pytest.mark.parametrize("form", FORMS, ids=str)


def example(frac_bits=3, form=FORMS[1]):
    """Entries that no one would design: nothing of them may be assumed."""
    draw = np.random.default_rng(5)
    plus, minus = draw.integers(-9, 20, form.top + 1), draw.integers(-60, 9, form.top + 1)
    plus[-1] = minus[-1] = 0
    return IndexedTable(frac_bits, form, tuple(plus.tolist()), tuple(minus.tolist()))


@each_form
def test_classes_are_the_formula_for_every_distance(form):
    d = np.arange(5000)
    expected = [min(x, form.base + (x >> form.shift), form.top) for x in range(5000)]
    np.testing.assert_array_equal(form.of(d), expected)


@each_form
def test_classes_ascend_and_the_last_begins_at_the_end(form):
    classes = form.of(np.arange(20_000))
    assert classes[0] == 0
    assert set(np.diff(classes)) <= {0, 1}
    assert np.flatnonzero(classes == form.top)[0] == form.end


@pytest.mark.parametrize("fields", [(-1, 3, 7), (17, 3, 7), (2, -1, 7), (2, 8, 7), (2, 0, 0), (2, 10, 1024)])
def test_an_index_that_cannot_be_is_refused(fields):
    with pytest.raises(SpecificationError, match=r"needs shift in 0..16 and base <= top, top in 1..1023"):
        IndexForm(*fields)


@each_form
def test_tables_hold_the_entry_of_each_class(form):
    adder = example(form=form)
    plus, minus = adder.tables(LNS(5, 3))
    classes = form.of(np.arange(len(plus)))
    np.testing.assert_array_equal(plus, np.array(adder.plus)[classes])
    np.testing.assert_array_equal(minus[1:], np.array(adder.minus)[classes][1:])
    assert minus[0] == CANCEL
    assert plus[-1] == minus[-1] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"plus": (1, 0)}, r"the index min\(d, 1 \+ \(d >> 1\), 3\) needs 4 entries, not 2 and 4"),
        ({"minus": (1,) * 5}, "needs 4 entries, not 4 and 5"),
        ({"plus": (4, 3, 2, 1)}, "the last entry has no upper end and must be 0"),
        ({"minus": (4, 3, 2, 1)}, "the last entry has no upper end and must be 0"),
        ({"index": IndexForm(1, 0, 3)}, "base must be 1 or more, d = 0 is a class of its own"),
    ],
)
def test_a_table_that_cannot_be_is_refused(fields, message):
    good = {"frac_bits": 3, "index": IndexForm(1, 1, 3), "plus": (8, 5, 2, 0), "minus": (0, -9, -3, 0)}
    IndexedTable(**good)
    with pytest.raises(SpecificationError, match=message) as caught:
        IndexedTable(**good | fields)
    assert "\n" not in str(caught.value)


def test_another_width_is_refused():
    with pytest.raises(SpecificationError, match=r"designed for frac_bits=3, used with LNS\(5,4\); choose LNS\(5,3\)"):
        example().tables(LNS(5, 4))
    with pytest.raises(SpecificationError, match="designed for frac_bits=3"):
        LogArithmetic(LNS(5, 4), add=example())


@each_form
def test_a_table_survives_its_dict(form):
    adder = example(form=form)
    data = json.loads(json.dumps(adder.to_dict()))
    assert IndexedTable.from_dict(data) == adder
    assert adder_from_dict(data) == adder
    arithmetic = LogArithmetic(LNS(5, 3), add=adder)
    assert arithmetic_from_dict(json.loads(json.dumps(arithmetic.to_dict()))) == arithmetic


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "indexed"}, "add kind='indexed': choose one of"),
        ({"kind": ["indexed-table"]}, "choose one of"),
        ({"index": {"shift": 1, "base": 2}}, "add = "),
        ({"index": 7}, "add = "),
        ({"plus": "many"}, "add = "),
        ({"minus": None}, "add = "),
        ({"frac_bits": "x"}, "add = "),
        ({"index": {"shift": 1, "base": 9, "top": 3}}, "needs shift in 0..16"),
    ],
)
def test_a_dict_that_is_no_table_is_refused(change, message):
    with pytest.raises(SpecificationError) as caught:
        adder_from_dict({**example().to_dict(), **change})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("order", [slipstick.Tree(16), slipstick.Sequential()], ids=str)
@pytest.mark.parametrize("form", [FORMS[1], FORMS[2]], ids=str)
def test_addition_is_that_of_the_reference_for_every_pair_of_codes(form, order):
    format = LNS(3, 3)
    arithmetic = LogArithmetic(format, add=example(form=form), order=order)
    codes = every_code(format)
    a, b = (torch.as_tensor(v.reshape(-1).copy()) for v in np.meshgrid(codes, codes, indexing="ij"))
    x, y = format.decode(a), format.decode(b)
    left, right = (reference.from_codes(v.numpy(), format) for v in (a, b))
    with slipstick.use(arithmetic):
        total, difference = x + y, x - y
        summed = torch.stack([x, y], dim=1).sum(dim=1)
    expected = reference.add(left, right, arithmetic).codes()
    np.testing.assert_array_equal(slipstick.codes(total, format).numpy(), expected)
    np.testing.assert_array_equal(
        slipstick.codes(difference, format).numpy(), reference.subtract(left, right, arithmetic).codes()
    )
    np.testing.assert_array_equal(slipstick.codes(summed, format).numpy(), expected)


def test_a_product_is_that_of_the_reference():
    format = LNS(5, 3)
    arithmetic = LogArithmetic(format, add=example())
    draw = np.random.default_rng(3)
    a, b = (torch.as_tensor(draw.standard_normal(shape), dtype=torch.float32) for shape in ((5, 40), (40, 7)))
    left, right = (reference.encode(v.numpy(), format) for v in (a, b))
    with slipstick.use(arithmetic):
        product = a @ b
    np.testing.assert_array_equal(
        slipstick.codes(product, format).numpy(), reference.matmul(left, right, arithmetic).codes()
    )


def test_a_network_trains_with_it():
    torch.manual_seed(0)
    form = IndexForm(2, 20, 63)
    exact = slipstick.Exact().tables(LNS(5, 3))
    d = np.minimum(np.array([np.flatnonzero(form.of(np.arange(500)) == c)[0] for c in range(64)]), len(exact[0]) - 1)
    plus, minus = (np.where(np.arange(64) == 63, 0, table[d]) for table in exact)
    adder = IndexedTable(3, form, tuple(plus.tolist()), (0, *minus[1:].tolist()))
    model = torch.nn.Linear(4, 1)
    x = torch.randn(64, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.125)
    losses = []
    with slipstick.use(LogArithmetic(LNS(5, 3), add=adder)):
        for _ in range(30):
            loss = torch.nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
