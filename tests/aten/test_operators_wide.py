"""Sums, products, convolutions, pooling and normalisation in a wide format agree with float64, forward and backward."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from wide import WIDE, U, assert_on_grid, assert_says_what_to_do, assert_within, check, differentiated, positive, randn

import slipstick as ss


def check_multilinear(program, *inputs: torch.Tensor, terms: int) -> None:
    """A sum of at most ``terms`` products: each tree level, the entry of a constant and the exit round once.

    The magnitudes that meet in a result are the same program's on absolute values.
    """
    roundings = 4 + max(1, terms).bit_length()
    with ss.use(WIDE):
        outputs, gradients = differentiated(program, inputs, None)
    wanted, wanted_gradients = differentiated(program, inputs, torch.float64)
    (magnitude,), _ = differentiated(program, [x.abs() for x in inputs], torch.float64)
    assert_within(outputs[0], wanted[0], roundings, magnitude.detach())
    assert_on_grid(outputs[0])
    leaves = [x.abs().double().requires_grad_() for x in inputs]
    cotangent = randn(*wanted[0].shape, seed=100).double().abs()
    bounds = torch.autograd.grad(program(*leaves), leaves, cotangent)
    for got, want, bound in zip(gradients, wanted_gradients, bounds, strict=True):
        assert_within(got, want, 2 * roundings, bound)
        assert_on_grid(got)


DIMS = [d for n in range(4) for d in itertools.combinations(range(3), n)] + [(-1,), (2, 0), None]


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "norm", "norm 1", "norm inf", "amax", "amin"])
def test_reductions_over_every_combination_of_axes(name: str, dim, keepdim: bool) -> None:
    if dim is None and keepdim:
        pytest.skip("PyTorch takes keepdim with axes only")
    if dim == () and name in ("var", "std"):
        pytest.skip("PyTorch's own gradient of a variance over the empty list of axes divides by zero")
    x = randn(4, 3, 5, low=0.01)
    order = {"norm": 2, "norm 1": 1, "norm inf": float("inf")}

    def program(x):
        if name in order:
            return torch.linalg.vector_norm(x, order[name], dim, keepdim) if dim else torch.linalg.vector_norm(x)
        if dim is None:
            return getattr(x, name)()
        return getattr(x, name)(dim=dim, keepdim=keepdim)

    check(program, x, roundings=14, gradient_roundings=40)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x.var(0, unbiased=False),
        lambda x: x.var(0, correction=2),
        lambda x: torch.var_mean(x, (0, 2)),
        lambda x: torch.std_mean(x, (0, 2)),
        lambda x: x.max(),
        lambda x: x.min(),
        lambda x: x.max(1),
        lambda x: x.min(1, keepdim=True),
        lambda x: x.amax((0, 1)),
        lambda x: x.sum((0, 1), dtype=torch.float64),
        lambda x: x[:, :0].sum(1),
        lambda x: x[0, 0, 0].sum(),
        lambda x: x[0, 0, 0].mean(),
        lambda x: x.t().sum(0) if x.dim() == 2 else x.transpose(0, 2).sum((0, 1)),
        lambda x: x.expand(2, 4, 3, 5).sum((0, 2)),
        lambda x: x.norm(),
        lambda x: x.norm(1, dim=1),
        lambda x: F.normalize(x, dim=1),
        lambda x: x.sort(1).values,
        lambda x: x.topk(2, 2).values,
        lambda x: x.median(1).values,
        lambda x: F.cosine_similarity(x, x.flip(0), dim=1),
        lambda x: x.cumsum(1),
    ],
)
def test_other_reductions_and_selections(program) -> None:
    try:
        check(program, randn(4, 3, 5, low=0.01), roundings=30, gradient_roundings=90)
    except ss.UnsupportedOperation as refusal:
        assert_says_what_to_do(refusal)


def test_the_sum_of_nothing_is_zero_and_its_mean_is_refused() -> None:
    with ss.use(WIDE):
        assert torch.empty(0).sum().item() == 0
        assert torch.empty(3, 0).sum(1).tolist() == [0, 0, 0]
        assert torch.empty(3, 0).sum(0).shape == (0,)
        with pytest.raises((ss.UnsupportedOperation, ss.NonFiniteError)):
            torch.empty(3, 0).mean(1)
        with pytest.raises((ss.UnsupportedOperation, ss.NonFiniteError)):
            torch.ones(3, 1).var(1)


def _transposed(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(-1, -2).contiguous().transpose(-1, -2)


@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 1), (17, 33, 18), (2, 100, 1), (3, 0, 2), (0, 4, 2)], ids=str)
def test_matrix_products(shape, a_transposed: bool, b_transposed: bool) -> None:
    m, k, n = shape
    a, b = randn(m, k), randn(k, n, seed=1)
    a, b = _transposed(a) if a_transposed else a, _transposed(b) if b_transposed else b
    check_multilinear(torch.mm, a, b, terms=max(shape))


PRODUCTS = {
    "bmm": (lambda a, b: torch.bmm(a, b), [(3, 4, 6), (3, 6, 5)]),
    "matmul broadcast": (torch.matmul, [(2, 3, 4, 6), (6, 5)]),
    "matmul batch broadcast": (torch.matmul, [(2, 1, 4, 6), (3, 6, 5)]),
    "mv": (torch.mv, [(4, 6), (6,)]),
    "dot": (torch.dot, [(6,), (6,)]),
    "vdot": (torch.vdot, [(6,), (6,)]),
    "outer": (torch.outer, [(4,), (6,)]),
    "einsum": (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(3, 4, 6), (3, 5, 6)]),
    "addmm": (torch.addmm, [(4, 5), (4, 6), (6, 5)]),
    "addmm row": (lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=0.3), [(5,), (4, 6), (6, 5)]),
    "addmm beta 0": (lambda c, a, b: torch.addmm(c, a, b, beta=0), [(5,), (4, 6), (6, 5)]),
    "addmm transposed": (lambda c, a, b: torch.addmm(c.t(), a.t(), b.t()), [(5, 4), (6, 4), (5, 6)]),
    "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2), [(3, 4, 5), (3, 4, 6), (3, 6, 5)]),
    "baddbmm broadcast": (torch.baddbmm, [(1, 5), (3, 4, 6), (3, 6, 5)]),
    "addmv": (lambda c, a, x: torch.addmv(c, a, x, beta=0.5, alpha=2), [(4,), (4, 6), (6,)]),
    "addbmm": (torch.addbmm, [(4, 5), (3, 4, 6), (3, 6, 5)]),
    "linear": (F.linear, [(4, 6), (5, 6), (5,)]),
    "linear without bias": (F.linear, [(2, 3, 6), (5, 6)]),
    "linear 1d": (F.linear, [(6,), (5, 6), (5,)]),
    "bilinear": (F.bilinear, [(4, 3), (4, 5), (2, 3, 5)]),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, padding=1), [(2, 3, 8), (4, 3, 3), (4,)]),
    "conv1d stride": (lambda x, w: F.conv1d(x, w, stride=2, dilation=2), [(2, 3, 11), (4, 3, 3)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b), [(2, 3, 6, 7), (4, 3, 3, 2), (4,)]),
    "conv2d 1x1": (F.conv2d, [(2, 3, 4, 4), (4, 3, 1, 1)]),
    "conv2d same": (lambda x, w: F.conv2d(x, w, padding="same"), [(2, 3, 6, 7), (4, 3, 3, 5)]),
    "conv2d geometry": (
        lambda x, w: F.conv2d(x, w, stride=(2, 1), padding=(2, 1), dilation=(1, 2)),
        [(2, 3, 8, 9), (4, 3, 3, 3)],
    ),
    "conv2d stride leaves rest": (lambda x, w: F.conv2d(x, w, stride=3, padding=1), [(2, 2, 8, 10), (3, 2, 2, 3)]),
    "conv2d groups": (lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2), [(2, 4, 5, 5), (6, 2, 3, 3), (6,)]),
    "conv2d depthwise": (lambda x, w: F.conv2d(x, w, padding=1, groups=4), [(2, 4, 5, 5), (8, 1, 3, 3)]),
    "conv2d unbatched": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(3, 5, 5), (4, 3, 3, 3), (4,)]),
    "conv2d padding over kernel": (lambda x, w: F.conv2d(x, w, padding=3), [(1, 2, 3, 3), (2, 2, 2, 2)]),
    "conv3d": (lambda x, w, b: F.conv3d(x, w, b, (1, 2, 1), 1), [(1, 2, 4, 5, 4), (3, 2, 2, 3, 3), (3,)]),
    "conv_transpose1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2), [(2, 3, 5), (3, 4, 3), (4,)]),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
        [(2, 3, 4, 5), (3, 4, 3, 3), (4,)],
    ),
    "conv_transpose2d groups": (
        lambda x, w: F.conv_transpose2d(x, w, stride=(1, 2), groups=2, dilation=2),
        [(2, 4, 4, 3), (4, 2, 3, 2)],
    ),
    "conv_transpose3d": (lambda x, w: F.conv_transpose3d(x, w, stride=2), [(1, 2, 2, 3, 2), (2, 3, 2, 2, 3)]),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1), [(2, 3, 8)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), [(2, 3, 6, 6)]),
    "avg_pool2d rest": (lambda x: F.avg_pool2d(x, 2), [(2, 3, 7, 5)]),
    "avg_pool2d overlap": (lambda x: F.avg_pool2d(x, 3, 2, 1), [(2, 3, 7, 8)]),
    "avg_pool2d unpadded": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), [(2, 3, 7, 8)]),
    "avg_pool2d ceil": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), [(2, 3, 6, 8)]),
    "avg_pool2d ceil unpadded": (
        lambda x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 0), ceil_mode=True, count_include_pad=False),
        [(2, 3, 6, 9)],
    ),
    "avg_pool2d divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=3), [(2, 3, 6, 6)]),
    "avg_pool2d divisor overlap": (lambda x: F.avg_pool2d(x, 3, 1, 1, divisor_override=7), [(2, 3, 5, 6)]),
    "avg_pool2d gaps": (lambda x: F.avg_pool2d(x, 2, 3), [(2, 3, 8, 8)]),
    "avg_pool2d unbatched": (lambda x: F.avg_pool2d(x, 2), [(3, 6, 6)]),
    "adaptive_avg_pool2d 1": (lambda x: F.adaptive_avg_pool2d(x, 1), [(2, 3, 5, 4)]),
    "adaptive_avg_pool2d even": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), [(2, 3, 6, 6)]),
    "adaptive_avg_pool2d overlap": (lambda x: F.adaptive_avg_pool2d(x, (3, 4)), [(2, 3, 7, 5)]),
    "adaptive_avg_pool2d up": (lambda x: F.adaptive_avg_pool2d(x, (5, 7)), [(2, 3, 3, 4)]),
    "adaptive_avg_pool2d None": (lambda x: F.adaptive_avg_pool2d(x, (None, 2)), [(2, 3, 3, 4)]),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 3), [(2, 3, 7)]),
    "cat": (lambda a, b: torch.cat([a, b, a]), [(2, 3), (4, 3)]),
    "stack": (lambda a, b: torch.stack([a, b], 1), [(2, 3), (2, 3)]),
    "pad": (lambda x: F.pad(x, (1, 2, 0, -1)), [(2, 3, 4, 5)]),
    "pad reflect": (lambda x: F.pad(x, (1, 2, 1, 1), "reflect"), [(2, 3, 4, 5)]),
    "pad replicate": (lambda x: F.pad(x, (1, 2, 1, 1), "replicate"), [(2, 3, 4, 5)]),
    "pad circular": (lambda x: F.pad(x, (1, 2, 1, 1), "circular"), [(2, 3, 4, 5)]),
    "slice and select": (lambda x: x[1:, ::2, 1].flip(0), [(4, 5, 3)]),
    "split": (lambda x: x.split(2, 1)[1] * 2 + x.chunk(2, 1)[0], [(3, 4)]),
    "expand": (lambda x: x.expand(4, 3, 5), [(3, 1)]),
    "repeat": (lambda x: x.repeat(2, 3), [(3, 2)]),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 1), [(3, 2)]),
    "roll": (lambda x: x.roll((1, 2), (0, 1)), [(3, 4)]),
    "tril": (torch.tril, [(4, 4)]),
    "diagonal": (lambda x: x.diagonal(1), [(4, 5)]),
    "unfold": (lambda x: x.unfold(1, 3, 2), [(2, 7)]),
    "unfold overlap": (lambda x: x.unfold(1, 3, 1), [(2, 7)]),
    "im2col": (lambda x: F.unfold(x, 3, padding=1, stride=2), [(2, 3, 5, 6)]),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), [(2, 8, 3, 3)]),
    "as_strided": (lambda x: x.as_strided((2, 3), (1, 2)), [(4, 3)]),
    "index": (lambda x: x[torch.tensor([2, 0, 1])], [(4, 3)]),
    "index twice": (lambda x: x[torch.tensor([2, 0, 2, 2])], [(4, 3)]),
    "index_select": (lambda x: x.index_select(1, torch.tensor([2, 0, 2])), [(4, 3)]),
    "gather": (lambda x: x.gather(1, torch.tensor([[0, 2], [1, 1], [2, 0]])), [(3, 3)]),
    "scatter": (lambda x, v: x.scatter(1, torch.tensor([[0, 2], [1, 0], [2, 0]]), v), [(3, 3), (3, 2)]),
    "scatter_add": (lambda x, v: x.scatter_add(1, torch.tensor([[0, 2], [1, 1], [2, 0]]), v), [(3, 3), (3, 2)]),
    "index_add": (lambda x, v: x.index_add(0, torch.tensor([1, 1]), v), [(3, 3), (2, 3)]),
    "masked_fill": (lambda x: x.masked_fill(torch.eye(3, dtype=torch.bool), 0.5), [(3, 3)]),
    "masked_select": (lambda x: x[torch.eye(3, dtype=torch.bool)], [(3, 3)]),
    "embedding": (lambda w: F.embedding(torch.tensor([[1, 3], [3, 0]]), w), [(5, 4)]),
    "interpolate nearest": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), [(2, 3, 3, 4)]),
    "interpolate bilinear": (lambda x: F.interpolate(x, size=(5, 6), mode="bilinear"), [(2, 3, 3, 4)]),
    "double and back": (lambda x: (x.double() * 2).float() * 3, [(3, 4)]),
    "channels last": (lambda x: x.contiguous(memory_format=torch.channels_last) * 2, [(2, 3, 4, 5)]),
    "fan out": (lambda x: x * 2 + x.t() + x.sum(0) + x[:1], [(4, 4)]),
}  # fmt: skip

MAY_BE_REFUSED = {
    "index twice", "index", "index_select", "scatter_add", "index_add", "masked_select", "embedding", "im2col",
    "unfold", "unfold overlap", "as_strided", "interpolate nearest", "interpolate bilinear", "pad reflect",
    "pad replicate", "avg_pool1d", "conv2d same", "gather", "bilinear", "repeat_interleave", "addbmm",
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_multilinear_operators_and_their_gradients(name: str) -> None:
    program, shapes = PRODUCTS[name]
    inputs = [randn(*shape, seed=i) for i, shape in enumerate(shapes)]
    terms = max(x.numel() for x in inputs)
    try:
        check_multilinear(program, *inputs, terms=terms)
    except ss.UnsupportedOperation:
        if name not in MAY_BE_REFUSED:
            raise


POOLS = {
    "2": (lambda x: F.max_pool2d(x, 2), (2, 3, 6, 6)),
    "rest": (lambda x: F.max_pool2d(x, 2), (2, 3, 7, 5)),
    "overlap": (lambda x: F.max_pool2d(x, 3, 2, 1), (2, 3, 7, 8)),
    "overlap stride 1": (lambda x: F.max_pool2d(x, 3, 1), (2, 3, 5, 6)),
    "ceil": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), (2, 3, 6, 8)),
    "dilation": (lambda x: F.max_pool2d(x, 2, 2, dilation=2), (2, 3, 8, 8)),
    "dilation overlap": (lambda x: F.max_pool2d(x, 2, 1, dilation=3), (2, 3, 8, 8)),
    "oblong": (lambda x: F.max_pool2d(x, (3, 1), (1, 2)), (2, 3, 6, 6)),
    "unbatched": (lambda x: F.max_pool2d(x, 2), (3, 6, 6)),
    "channels last": (lambda x: F.max_pool2d(x.contiguous(memory_format=torch.channels_last), 3, 2), (2, 3, 7, 7)),
    "1d": (lambda x: F.max_pool1d(x, 3, 2), (2, 3, 9)),
    "adaptive": (lambda x: F.adaptive_max_pool2d(x, (2, 3)), (2, 3, 5, 7)),
    "3d": (lambda x: F.max_pool3d(x, 2), (1, 2, 4, 4, 4)),
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pools_select_and_their_gradients_add(name: str) -> None:
    program, shape = POOLS[name]
    try:
        check(program, randn(*shape), roundings=0.0, gradient_roundings=8)
    except ss.UnsupportedOperation:
        assert name in ("adaptive", "3d")


BATCH_NORM_SHAPES = {"1d": (6, 3), "1d long": (4, 3, 5), "2d": (3, 4, 5, 2), "3d": (2, 3, 2, 3, 2)}


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("rank", BATCH_NORM_SHAPES)
def test_batch_norm(rank: str, affine: bool, statistics: bool, training: bool, momentum) -> None:
    shape = BATCH_NORM_SHAPES[rank]
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d, 5: torch.nn.BatchNorm3d}
    layers = []
    for dtype in (torch.float32, torch.float64):
        layer = kind[len(shape)](shape[1], affine=affine, track_running_stats=statistics, momentum=momentum)
        if affine:
            layer.weight.data.copy_(positive(shape[1]))
            layer.bias.data.copy_(randn(shape[1]))
        if statistics:
            layer.running_mean.copy_(randn(shape[1], seed=5))
            layer.running_var.copy_(positive(shape[1], seed=6, low=0.5))
        layers.append(ss.snap_(layer.train(training), WIDE).to(dtype))
    results = []
    for layer, dtype in zip(layers, (torch.float32, torch.float64), strict=True):
        x = (randn(*shape) * 2 + 1).to(dtype).requires_grad_()
        cotangent = randn(*shape, seed=9).to(dtype)

        def run(layer=layer, x=x, cotangent=cotangent):
            for _ in range(3 if training and statistics else 1):
                y = layer(x)
            y.backward(cotangent)
            return y

        if dtype == torch.float32:
            with ss.use(WIDE):
                y = run()
        else:
            y = run()
        results.append([y, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()])
    for got, want in zip(*results, strict=True):
        if got.dtype.is_floating_point:
            # x arrives off the grid (one rounding of magnitudes up to 8); then a mean, a variance and the formula.
            assert_within(got, want, 60, float(want.detach().abs().max()))
            assert_on_grid(got)
        else:
            assert torch.equal(got, want)


@pytest.mark.parametrize(
    "program",
    [
        lambda x, w, b: F.layer_norm(x, (5,), w, b),
        lambda x, w, b: F.layer_norm(x, (5,)) * w + b,
        lambda x, w, b: F.group_norm(x.transpose(0, 1)[None, :4, :], 2)[0, 0, 0] * w,
        lambda x, w, b: F.rms_norm(x, (5,), w),
        lambda x, w, b: F.instance_norm(x[None]) * w,
        lambda x, w, b: F.local_response_norm(x[None], 2, beta=0.5) * w,
    ],
    ids=["layer", "layer plain", "group", "rms", "instance", "local response"],
)
def test_other_normalisations_are_right_or_refused(program) -> None:
    try:
        check(program, randn(6, 5), positive(5), randn(5, seed=3), roundings=60, gradient_roundings=200)
    except ss.UnsupportedOperation as refusal:
        assert_says_what_to_do(refusal)


def test_wide_checks_would_notice_one_wrong_rounding() -> None:
    """The bounds are not so loose that a number off by two units passes."""
    x = randn(4, 4, low=0.1)
    with pytest.raises(AssertionError):
        assert_within(x * (1 + 4 * U), x, 1, x.abs(), float(x.abs().max()))
