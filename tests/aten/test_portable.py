"""A program under ``SLIPSTICK_ISA=portable``, as on a processor without vector kernels, has the same codes."""

import hashlib
import os
import subprocess
import sys

import torch
import torch.nn.functional as F
from small import FINE, LNS12, network, train

import slipstick as ss
from slipstick.kernels import native

WIDE = ss.LogArithmetic(ss.LNS(4, 3), "exact", accumulator=ss.LogArithmetic(ss.LNS(6, 8), "exact"))


def digest() -> str:
    """Of the codes of a short training, and of operators of every family, forward and backward."""
    torch.set_num_threads(1)
    found = hashlib.sha256()
    model = network()
    with ss.use(LNS12, update=FINE):
        train(model, torch.optim.Adam(model.parameters(), 0.01))
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(5))
    results = [p.detach() for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()]
    for arithmetic in (LNS12, WIDE):
        leaf = x.clone().requires_grad_()
        with ss.use(arithmetic):
            rows = leaf.flatten(1)
            y = F.gelu(F.layer_norm(rows, (75,))).softmax(1) + rows.cumsum(1) * F.interpolate(leaf, 5).flatten(1).tanh()
            attended = F.scaled_dot_product_attention(leaf, leaf, leaf).flatten(1)
            (gradient,) = torch.autograd.grad((y * attended).sum() + torch.cdist(rows, rows + 1).sum(), leaf)
        results += [y.detach(), attended.detach(), gradient]
    for result in results:
        found.update(result.contiguous().numpy().tobytes())
    return found.hexdigest()


def test_the_portable_kernels_give_a_program_the_same_codes() -> None:
    environment = {**os.environ, "SLIPSTICK_ISA": "portable"}
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["portable", digest()]


if __name__ == "__main__":
    print(native.current_isa(), digest())
