"""Losses with margins and their gradients equal, code for code, compositions of the NumPy reference."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bits import constants, joined, numbers, placed, stacked
from oracle import Number, Oracle

import slipstick as ss

TARGET = torch.tensor([3, 0, 0, 4])


def clamped(z: Number) -> tuple[Number, np.ndarray]:
    """max(z, 0), and where its gradient passes: at zero too."""
    return z.maximum(0.0), (z.a.sign == 0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("p", "weighted"), [(1, False), (1, True), (2, False), (2, True)])
def test_multi_margin_loss_and_its_gradient(p: int, weighted: bool, reduction: str, o: Oracle) -> None:
    a = numbers(4, 5)
    a[1, 2], a[2] = a[1, 0] - 1.0, 0.25  # a margin of zero, and ties
    a.requires_grad_()
    weight = numbers(5, seed=2).abs() + 0.1 if weighted else None
    with ss.use(o.arithmetic):
        loss = F.multi_margin_loss(a, TARGET, p=p, weight=weight, reduction=reduction)
        g = numbers(4, seed=1) if reduction == "none" else torch.tensor(0.7)
        (gradient,) = torch.autograd.grad(loss, a, g)
    x, rows = o.numbers(a), np.arange(4)
    other = np.arange(5) != TARGET.numpy()[:, None]
    zero = constants(o, np.zeros((4, 5)))
    z, passes = clamped((1.0 - x[rows, TARGET.numpy()].reshape(4, 1)) + x)
    losses = z if p == 1 else z * z
    scale = None if weight is None else o.numbers(weight)[TARGET.numpy()].reshape(4, 1)
    losses = (losses if scale is None else losses * scale).where(other, zero)
    if reduction == "mean":
        o.same(loss, losses.mean([0, 1]))
    else:
        o.same(loss, losses.sum([0, 1]) / 5 if reduction == "sum" else losses.mean([1]))
    upstream = o.numbers(g).reshape(*(4, 1) if reduction == "none" else (1, 1))
    back = (zero + upstream / (20 if reduction == "mean" else 5)).where(other, zero)
    back = back if scale is None else back * scale
    back = (back if p == 1 else back * z + back * z).where(passes, zero)
    own = placed(o, -back.sum([1]), rows * 5 + TARGET.numpy(), 20).reshape(4, 5)
    o.same(gradient, back + own)


LABELS = torch.tensor([[3, 0, -1, 1, -1], [1, -1, 0, 0, 0], [0, 1, 2, 3, 4], [-1, 2, 2, 2, 2]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_multilabel_margin_loss_and_its_gradient(reduction: str, o: Oracle) -> None:
    """Only labels before the first -1 count: the third row has no other class, the fourth no label."""
    a = numbers(4, 5).requires_grad_()
    with ss.use(o.arithmetic):
        loss = F.multilabel_margin_loss(a, LABELS, reduction=reduction)
        g = numbers(4, seed=1) if reduction == "none" else torch.tensor(0.7)
        (gradient,) = torch.autograd.grad(loss, a, g)
    x, zero = o.numbers(a), constants(o, 0.0)
    upstream = [o.numbers(g)[n] if reduction == "none" else o.numbers(g) for n in range(4)]
    upstream = [u / 4 if reduction == "mean" else u for u in upstream]
    z = np.empty((5, 4, 5), object)  # label, sample, class
    back = np.empty((5, 4, 5), object)
    for label, n, c in itertools.product(range(5), range(4), range(5)):
        labels = list(itertools.takewhile(lambda y: y != -1, LABELS[n].tolist()))
        if label >= len(labels) or c in labels:
            z[label, n, c] = back[label, n, c] = zero
            continue
        margin, passes = clamped((1.0 - x[n, labels[label]]) + x[n, c])
        z[label, n, c] = margin / 5
        back[label, n, c] = (upstream[n] / 5).where(passes, zero)

    def together(numbers_: np.ndarray) -> Number:
        return joined(o, list(numbers_.reshape(-1)))

    if reduction == "sum":
        o.same(loss, together(z).sum([0]))
    else:
        each = stacked(o, [together(z[:, n]).sum([0], True) for n in range(4)], 0)
        o.same(loss, each if reduction == "none" else each.mean([0]))
    direct = stacked(o, [together(back[:, n, c]).sum([0], True) for n in range(4) for c in range(5)], 0)
    named = torch.where((LABELS == -1).cumsum(1) == 0, LABELS, 0)
    of_labels = [-together(back[label, n]).sum([0]) for n in range(4) for label in range(5)]
    places = (torch.arange(4)[:, None] * 5 + named).flatten()
    o.same(gradient.flatten(), direct + placed(o, joined(o, of_labels), places, 20))


def test_multilabel_margin_loss_is_that_of_pytorch_in_shape_and_size() -> None:
    wide = ss.LogArithmetic(ss.LNS(6, 14))
    for a, labels in ((numbers(4, 5), LABELS), (numbers(5), LABELS[0])):
        for reduction in ("mean", "sum", "none"):
            with ss.use(wide):
                got = F.multilabel_margin_loss(a, labels, reduction=reduction)
            want = F.multilabel_margin_loss(a, labels, reduction=reduction)
            assert got.shape == want.shape
            assert torch.allclose(got, want, rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_negative_log_likelihood_of_images(reduction: str, weighted: bool, o: Oracle) -> None:
    a = numbers(2, 5, 2, 3).requires_grad_()
    target = torch.tensor([[[0, 4, -100], [2, 2, 1]], [[3, -100, 0], [0, 1, 4]]])
    weight = torch.tensor([0.5, 2.0, 1.0, 0.3, 1.7]) if weighted else None
    with ss.use(o.arithmetic):
        loss = F.nll_loss(a, target, weight, reduction=reduction)
        g = numbers(2, 2, 3, seed=1) if reduction == "none" else torch.tensor(0.7)
        (gradient,) = torch.autograd.grad(loss, a, g)
    counted, safe = (target != -100).numpy(), target.clamp(min=0).numpy()
    n, i, j = np.indices(safe.shape)
    zero = constants(o, np.zeros(safe.shape))
    picked = o.numbers(a)[n, safe, i, j].where(counted, zero)
    scale = None if weight is None else o.numbers(weight)[safe]
    losses = -picked if scale is None else -(picked * scale.where(counted, zero))
    everything, upstream = [0, 1, 2], o.numbers(g)
    if reduction == "none":
        o.same(loss, losses)
    else:
        total = losses.sum(everything)
        if reduction == "mean" and scale is None:
            total, upstream = total * (1 / 10), upstream * (1 / 10)
        elif reduction == "mean":
            heavy = scale.where(counted, zero).sum(everything)
            total, upstream = total / heavy, upstream / heavy
        o.same(loss, total)
    at_target = zero + -upstream if scale is None else -(upstream * scale)
    at_target = at_target.where(counted, zero).reshape(2, 1, 2, 3)
    one_hot = np.arange(5)[None, :, None, None] == safe[:, None]
    o.same(gradient, at_target.where(one_hot, constants(o, np.zeros((2, 5, 2, 3)))))
