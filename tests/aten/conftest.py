"""Settings for the tests of PyTorch in an arithmetic."""

from collections.abc import Iterator

import pytest
import torch
from bits import ARITHMETICS
from oracle import Oracle


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """These tensors are tiny: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=ARITHMETICS)
def o(request: pytest.FixtureRequest) -> Oracle:
    """The reference of each arithmetic of the bit tests."""
    return Oracle(ARITHMETICS[request.param])
