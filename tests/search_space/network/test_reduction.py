"""Operations that halve the resolution by 1x1 convolutions."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from search_space import SearchSpace, Supernet
from search_space.network.operations import OPERATIONS, FactorizedReduce, batch_norm
from tests.support.scripts import ROOT

TRAINING = """
import torch
from search_space.network.operations import FactorizedReduce, batch_norm

torch.set_num_threads(1)
torch.manual_seed(0)
reduction = FactorizedReduce(4, 8, batch_norm)
exact = FactorizedReduce(4, 8, batch_norm).double()
exact.load_state_dict(reduction.state_dict())
reduction.to(memory_format=torch.channels_last)
for size in (8, 7) * 40:
    images = torch.randn(20, 4, size, size)
    slope = torch.randn(20, 8, 4, 4)
    found, expected = (
        torch.autograd.grad(module(read), list(module.parameters()), slope.to(read.dtype))
        for module, read in ((reduction, images.to(memory_format=torch.channels_last)), (exact, images.double()))
    )
    for one, other in zip(found, expected):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)
print("done")
"""


@pytest.mark.slow
def test_few_channels_are_reduced_within_their_memory_on_processors_with_avx2():
    """Fails with PyTorch's strided 1x1 convolution and oneDNN 3.12: wrong gradients or a destroyed heap."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", TRAINING]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (5, 5), (1, 1)])
def test_a_reduction_is_that_of_strided_convolutions(size):
    torch.manual_seed(0)
    reduction = FactorizedReduce(6, 9, batch_norm).double()
    images = torch.randn(4, 6, *size, dtype=torch.float64)
    rectified = F.relu(images)
    shifted = F.pad(rectified, (0, size[1] % 2, 0, size[0] % 2))[:, :, 1:, 1:]
    halves = F.conv2d(rectified, reduction.even.weight, stride=2), F.conv2d(shifted, reduction.odd.weight, stride=2)
    torch.testing.assert_close(reduction(images), reduction.norm(torch.cat(halves, dim=1)))


def test_nor_conv_1x1_of_stride_2_is_a_strided_convolution():
    torch.manual_seed(0)
    operation = OPERATIONS["nor_conv_1x1"](6, 2, batch_norm).double()
    images = torch.randn(4, 6, 7, 8, dtype=torch.float64)
    expected = F.conv2d(F.relu(images), operation[1].weight, stride=2)
    torch.testing.assert_close(operation(images), operation[2](expected))


def test_no_1x1_convolution_has_a_stride():
    operations = [OPERATIONS[name](4, 2, batch_norm) for name in OPERATIONS]
    names = tuple(name for name in OPERATIONS if name != "noise")
    supernet = Supernet(SearchSpace(nodes=2, operations=names), channels=4, layers=3, num_classes=10)
    convolutions = [
        module for part in (*operations, supernet) for module in part.modules() if isinstance(module, nn.Conv2d)
    ]
    assert len(convolutions) > 20
    assert all(one.stride == (1, 1) for one in convolutions if one.kernel_size == (1, 1))
