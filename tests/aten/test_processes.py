"""Data parallel: gradients of several processes are added in the arithmetic, by rank."""

from pathlib import Path

import pytest
import torch
import torch.distributed as distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import slipstick as ss

ARITHMETIC = ss.LogArithmetic(ss.LNS(5, 5), add="sanyal2019-bitshift")

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="PyTorch was built without it")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def batch(rank: int) -> torch.Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(rank))


def gradients(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    with ss.use(ARITHMETIC):
        model(x).square().sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def in_a_group(rank: int, size: int, folder: str, views: bool) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store-{views}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    with ss.use(ARITHMETIC):
        model = DistributedDataParallel(network(), gradient_as_bucket_view=views)
    torch.save(gradients(model, batch(rank)), Path(folder) / f"{views}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("views", [False, True])
def test_one_process_has_its_own_gradients(tmp_path: Path, views: bool) -> None:
    in_a_group(0, 1, str(tmp_path), views)
    found = torch.load(tmp_path / f"{views}-0.pt")
    assert all(torch.equal(a, b) for a, b in zip(found, gradients(network(), batch(0)), strict=True))


def test_three_processes_add_theirs_by_rank(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(in_a_group, (3, str(tmp_path), True), nprocs=3)
    every = [gradients(network(), batch(rank)) for rank in range(3)]
    for rank in range(3):
        found = torch.load(tmp_path / f"True-{rank}.pt")
        for parts, got in zip(zip(*every, strict=True), found, strict=True):
            with ss.use(ARITHMETIC):
                first, second, third = (part * (1 / 3) for part in parts)  # as DistributedDataParallel averages
                expected = (first + second) + third
            assert torch.equal(got, expected)


def test_other_reductions_are_refused(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(product_of_two, (str(tmp_path),), nprocs=2)
    assert sorted(path.name for path in tmp_path.glob("refused-*")) == ["refused-0", "refused-1"]


def product_of_two(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    x = torch.ones(2) * (rank + 1)
    with ss.use(ARITHMETIC):
        largest = x.clone()
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        assert largest.tolist() == [2.0, 2.0]
        with pytest.raises(ss.UnsupportedOperation, match="only a sum, minimum or maximum"):
            distributed.all_reduce(x, distributed.ReduceOp.PRODUCT)
    (Path(folder) / f"refused-{rank}").touch()
    distributed.destroy_process_group()
