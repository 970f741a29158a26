"""Lightning's Fabric on the device that is not there, in the place of the one that stages make."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities import move_data_to_device
from torch import nn

from pipeline.compute import fabric as stages_fabric
from tests.support.fake_accelerator.device import DEVICE, each, real


class FakeFabric(Fabric):
    """One process on the device; precision and all else as on the CPU."""

    @property
    def device(self):
        """Return the device that is not there."""
        return DEVICE

    def to_device(self, obj):
        """Move a module, a tensor, or what is made of them."""
        return obj.to(DEVICE) if isinstance(obj, nn.Module) else move_data_to_device(obj, DEVICE)


def install():
    """Let `make_fabric` make it, and files hold the device's tensors as they are read, on the CPU, in this process."""
    stages_fabric.Fabric = FakeFabric
    save = torch.save  # which writes wrappers of tensors as code that no reader runs
    torch.save = lambda content, *arguments, **named: save(each(real, content), *arguments, **named)
