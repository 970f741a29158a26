"""The machine that a stage runs on: devices, threads, precision and processes."""

from __future__ import annotations

from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from pipeline.errors import RunError
from pipeline.settings import FabricSettings

LONGEST_WAIT = timedelta(days=1)  # for another process: one batch under AutoAttack may take hours


def make_fabric(settings: FabricSettings) -> Fabric:
    """Choose devices, threads, precision and processes. Raises RunError when the machine has not what is asked for."""
    available = torch.cuda.device_count()
    wants_cuda = settings.accelerator == "cuda" or (settings.accelerator == "auto" and available > 0)
    if wants_cuda and settings.devices > available:
        raise RunError(f"fabric asks for {settings.devices} CUDA devices; this machine has {available}")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    accelerator = settings.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if available else "cpu"
    strategy = DDPStrategy(timeout=LONGEST_WAIT) if settings.devices > 1 else settings.strategy
    return Fabric(accelerator=accelerator, devices=settings.devices, strategy=strategy, precision=settings.precision)
