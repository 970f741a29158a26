"""Modules that a user brings are told apart by all that they hold."""

import pytest
import torch

from pipeline.errors import RunError
from pipeline.networks.user_module import _digest


@pytest.mark.parametrize("change", ["weight", "shape", "dtype", "name", "buffer", "hidden", "extra"])
def test_modules_are_told_apart_by_all_that_they_hold(change):
    first, second = Holder(), Holder()
    assert _digest("a:b", first) == _digest("a:b", second)
    if change == "weight":
        second.weight.data[0, 0] += 1e-6
    if change == "shape":
        second.weight.data = second.weight.data.view(3, 2)
    if change == "dtype":
        second.count = second.count.view(torch.float64)  # the same bytes
    if change == "name":
        second.other = second._parameters.pop("weight")
    if change == "buffer":
        second.count += 1
    if change == "hidden":
        second.hidden[1] = -second.hidden[1]
    if change == "extra":
        second.extra = "other"
    assert _digest("a:b", first) != _digest("a:b", second)


def test_a_module_whose_state_cannot_be_read_is_refused_in_one_line():
    module = Holder()
    module.extra = lambda: None  # no pickle holds it
    with pytest.raises(RunError, match=r"^evaluate\.model=a:b: reading its state_dict raised .*$"):
        _digest("a:b", module)


class Holder(torch.nn.Module):
    """One of each kind of value that a module can hold."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("hidden", torch.tensor([1, 1j]), persistent=False)
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.extra = "extra"

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state
