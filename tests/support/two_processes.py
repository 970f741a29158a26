"""Functions called in two processes, and what they find beside one."""

import torch
from lightning_fabric import Fabric

ONE = Fabric(accelerator="cpu", devices=1)


def without_launch_variables(monkeypatch):
    """Forget what Fabric left in the environment, now and at the end of the test."""
    for name in ("MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def in_two_processes(monkeypatch, folder, work, *arguments):
    """What `work(fabric, *arguments)` returns in each of two processes, which are forks of this one."""
    without_launch_variables(monkeypatch)

    def save(fabric):
        torch.save(work(fabric, *arguments), folder / f"{fabric.global_rank}.pt")

    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(save)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
