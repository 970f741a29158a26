"""A copy of a parameter on the CPU is made anew after each change, and not before."""

import torch

from search_space.supernet.host_copies import on_host


def test_a_tensor_of_the_cpu_is_never_a_stale_copy():
    tensor = torch.nn.Parameter(torch.zeros(2))
    assert on_host(tensor).tolist() == [0, 0]
    with torch.no_grad():
        tensor += 1
    assert on_host(tensor).tolist() == [1, 1]
    assert not on_host(tensor).requires_grad
