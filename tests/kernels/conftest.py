"""Every kernel test runs on every instruction set of the machine, or says why not."""

import pytest
import torch

from slipstick.kernels import native


@pytest.fixture(params=native.available_isas())
def isa(request):
    """The instruction set that the kernels use in this test."""
    before = native.current_isa()
    native.set_isa(request.param)
    yield request.param
    native.set_isa(before)


@pytest.fixture(params=[1, 2])
def threads(request):
    """The number of threads that the kernels use in this test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
