"""What processes exchange: numbers move as they are, and a sum over processes is added in the arithmetic, by rank."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slipstick.aten.registry import defined, existing, moves
from slipstick.errors import UnsupportedOperation
from slipstick.kernels import elementary

if TYPE_CHECKING:
    from slipstick.aten.mode import use

c10d = torch.ops.c10d

moves(
    *existing(
        c10d,
        """broadcast_ allgather_ allgather_coalesced_ _allgather_base_ allgather_into_tensor_coalesced_ gather_ scatter_
        alltoall_ alltoall_base_ send recv_ recv_any_source_ barrier monitored_barrier_ check_for_nan""",
    )
)


@defined(*existing(c10d, "allreduce_"))
def all_reduce(
    run: "use",
    tensors: Sequence[Tensor],
    process_group: Any,
    reduce_op: Any,
    sparse_indices: Tensor | None,
    async_op: bool = True,
    timeout: int = -1,
) -> Any:
    """The sum in ascending rank, ((0 + 1) + 2) + 3, the same codes in every process. Done when it returns."""
    from torch.distributed import ProcessGroup, ReduceOp  # not in every build of PyTorch

    size = ProcessGroup.unbox(process_group).size()
    operation = reduce_op.op()
    if size > 1 and operation not in (ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX):
        raise UnsupportedOperation(f"{run.operator}: only a sum, minimum or maximum over processes is defined")
    if size > 1 and operation == ReduceOp.SUM:
        for tensor in tensors:
            _sum_by_rank(run, tensor, process_group, size, timeout)
        return c10d.broadcast_(tensors, process_group, 0, 0, async_op, timeout)  # for what it returns: all have the sum
    return c10d.allreduce_(tensors, process_group, reduce_op, sparse_indices, async_op, timeout)


def _sum_by_rank(run: "use", tensor: Tensor, process_group: Any, size: int, timeout: int) -> None:
    parts = [torch.empty_like(tensor) for _ in range(size)]
    c10d.allgather_([parts], [tensor], process_group, False, timeout)[1].wait()
    total = reduce(lambda a, b: run.chain(elementary.add, a, b), parts)
    tensor.copy_(total)
